-- OpenFlow 1.0 with the circuit-switch addendum (sdn_client/CFLOW_MOD.md), for Wireshark and tshark.
--
-- Wireshark's own OpenFlow dissector knows neither CFLOW_MOD nor CPORT_STATUS. This one reads the
-- connection between the agent (or the embedded controller) and the optical switch; set its port in
-- the preferences, or decode as: tshark -d tcp.port==PORT,cflow_mod

local of = Proto("cflow_mod", "OpenFlow 1.0 with the Circuit Switch Addendum")

local HEADER_BYTES = 8
local TYPES = {
    [0] = "HELLO", [1] = "ERROR", [2] = "ECHO_REQUEST", [3] = "ECHO_REPLY", [4] = "VENDOR",
    [5] = "FEATURES_REQUEST", [6] = "FEATURES_REPLY", [7] = "GET_CONFIG_REQUEST",
    [8] = "GET_CONFIG_REPLY", [9] = "SET_CONFIG", [12] = "PORT_STATUS", [14] = "FLOW_MOD",
    [16] = "STATS_REQUEST", [17] = "STATS_REPLY", [18] = "BARRIER_REQUEST",
    [19] = "BARRIER_REPLY", [22] = "CFLOW_MOD", [23] = "CPORT_STATUS",
    [0xFE] = "CPORT_STATUS", [0xFF] = "CFLOW_MOD",
}
local COMMANDS = {
    [0] = "ADD", [1] = "MODIFY", [2] = "MODIFY_STRICT", [3] = "DELETE", [4] = "DELETE_STRICT",
    [0xFFFF] = "DROP",
}
local ERRORS = {
    [1] = "bad request", [2] = "bad action", [3] = "flow mod failed", [0xFFFF] = "cflow mod failed",
}
local ERROR_CODES = {
    ["1/0"] = "bad version", ["1/1"] = "bad type", ["1/2"] = "bad statistics", ["1/6"] = "bad length",
    ["2/0"] = "actions", ["2/4"] = "no such port", ["3/2"] = "ports of two partitions",
    ["3/4"] = "unknown command", ["3/5"] = "unsupported", ["65535/1"] = "a port is in use",
    ["65535/2"] = "mismatch",
}
local REASONS = {
    [0] = "ADD", [1] = "DELETE", [2] = "MODIFY", [254] = "BW_DOWN or BW_MODIFY",
    [255] = "BW_MODIFY or BW_DOWN",
}

local f = {
    version = ProtoField.uint8("cflow_mod.version", "Version", base.HEX),
    type = ProtoField.uint8("cflow_mod.type", "Type", base.DEC, TYPES),
    length = ProtoField.uint16("cflow_mod.length", "Length", base.DEC),
    xid = ProtoField.uint32("cflow_mod.xid", "Transaction id", base.DEC),
    command = ProtoField.uint16("cflow_mod.command", "Command", base.DEC, COMMANDS),
    hard_timeout = ProtoField.uint16("cflow_mod.hard_timeout", "Hard timeout (s)", base.DEC),
    wildcards = ProtoField.uint16("cflow_mod.wildcards", "Wildcards", base.HEX),
    components = ProtoField.uint16("cflow_mod.components", "Components", base.DEC),
    in_port = ProtoField.uint16("cflow_mod.in_port", "In port", base.DEC),
    out_port = ProtoField.uint16("cflow_mod.out_port", "Out port", base.DEC),
    rest = ProtoField.bytes("cflow_mod.rest", "TDM and wavelength ports, actions"),
    error_type = ProtoField.uint16("cflow_mod.error_type", "Error type", base.DEC, ERRORS),
    error_code = ProtoField.uint16("cflow_mod.error_code", "Error code", base.DEC),
    error_data = ProtoField.bytes("cflow_mod.error_data", "Of the request"),
    datapath_id = ProtoField.uint64("cflow_mod.datapath_id", "Datapath id", base.HEX),
    n_cports = ProtoField.uint8("cflow_mod.n_cports", "Circuit ports", base.DEC),
    ports = ProtoField.bytes("cflow_mod.ports", "Ports"),
    reason = ProtoField.uint8("cflow_mod.reason", "Reason", base.DEC, REASONS),
    port_no = ProtoField.uint16("cflow_mod.port", "Port", base.DEC),
    port_name = ProtoField.stringz("cflow_mod.port_name", "Name"),
    port_down = ProtoField.bool("cflow_mod.port_down", "Administratively down", 32, nil, 1),
    port_dark = ProtoField.bool("cflow_mod.port_dark", "No light", 32, nil, 1),
    swtype = ProtoField.uint16("cflow_mod.switch_type", "Switch type", base.HEX),
    num_bandwidth = ProtoField.uint16("cflow_mod.num_bandwidth", "Bandwidth words", base.DEC),
    stats_type = ProtoField.uint16("cflow_mod.stats_type", "Statistics type", base.DEC, { [1] = "flow" }),
    stats_flags = ProtoField.uint16("cflow_mod.stats_flags", "Flags", base.HEX),
    body = ProtoField.bytes("cflow_mod.body", "Body"),
}
of.fields = f

local e_body = ProtoExpert.new(
    "cflow_mod.malformed", "The body does not fit its type", expert.group.MALFORMED,
    expert.severity.ERROR)
of.experts = { e_body }

of.prefs.port = Pref.uint("TCP port", 0, "Where the optical switch connects to; 0 for none")

local function pairs_of(tvb, n)
    local found = {}
    for k = 0, n - 1 do
        found[#found + 1] = string.format(
            "%d-%d", tvb(24 + 2 * k, 2):uint(), tvb(24 + 2 * (n + k), 2):uint())
    end
    return table.concat(found, " ")
end

local function cflow_mod(tvb, tree)
    tree:add(f.command, tvb(8, 2))
    tree:add(f.hard_timeout, tvb(10, 2))
    tree:add(f.wildcards, tvb(16, 2))
    tree:add(f.components, tvb(18, 2))
    local command = COMMANDS[tvb(8, 2):uint()] or tostring(tvb(8, 2):uint())
    local n, at = tvb(18, 2):uint(), 24
    -- A zero bit means that the array is there; bits 0 and 1 are the fibre ports.
    local wildcards = tvb(16, 2):uint()
    local has_in, has_out = not bit32.btest(wildcards, 1), not bit32.btest(wildcards, 2)
    local summary = "CFLOW_MOD " .. command
    if has_in and has_out then
        summary = summary .. " " .. pairs_of(tvb, n)
    end
    for _, array in ipairs({ { has_in, f.in_port }, { has_out, f.out_port } }) do
        if array[1] then
            for _ = 1, n do
                tree:add(array[2], tvb(at, 2))
                at = at + 2
            end
        end
    end
    if at < tvb:len() then
        tree:add(f.rest, tvb(at))
    end
    return summary
end

local function circuit_port(tvb, tree)
    tree:add(f.port_no, tvb(0, 2))
    tree:add(f.port_name, tvb(8, 16))
    tree:add(f.port_down, tvb(24, 4))
    tree:add(f.port_dark, tvb(28, 4))
    tree:add(f.swtype, tvb(52, 2))
    tree:add(f.num_bandwidth, tvb(64, 2))
    return tvb(0, 2):uint(), bit32.btest(tvb(28, 4):uint(), 1)
end

local function cport_status(tvb, tree)
    tree:add(f.reason, tvb(8, 1))
    local number, is_dark = circuit_port(tvb(16):tvb(), tree)
    local reason = REASONS[tvb(8, 1):uint()] or tostring(tvb(8, 1):uint())
    return string.format("CPORT_STATUS port %d %s%s", number, reason, is_dark and ", no light" or "")
end

local function features_reply(tvb, tree)
    tree:add(f.datapath_id, tvb(8, 8))
    tree:add(f.n_cports, tvb(21, 1))
    if tvb:len() > 32 then
        tree:add(f.ports, tvb(32))
    end
    return string.format("FEATURES_REPLY %d circuit ports", tvb(21, 1):uint())
end

local function failure(tvb, tree)
    tree:add(f.error_type, tvb(8, 2))
    tree:add(f.error_code, tvb(10, 2))
    if tvb:len() > 12 then
        tree:add(f.error_data, tvb(12))
    end
    local key = string.format("%d/%d", tvb(8, 2):uint(), tvb(10, 2):uint())
    return "ERROR " .. key .. " " .. (ERROR_CODES[key] or "")
end

local FLOW_STATS, ENTRY_BYTES = 1, 96
local function stats_reply(tvb, tree)
    tree:add(f.stats_type, tvb(8, 2))
    tree:add(f.stats_flags, tvb(10, 2))
    if tvb(8, 2):uint() ~= FLOW_STATS then
        return "STATS_REPLY"
    end
    local found, at = {}, 12
    while at + ENTRY_BYTES <= tvb:len() do
        local entry = tree:add(of, tvb(at, ENTRY_BYTES), "Cross-connect")
        entry:add(f.in_port, tvb(at + 8, 2))
        entry:add(f.out_port, tvb(at + 92, 2))
        found[#found + 1] = string.format(
            "%d-%d", tvb(at + 8, 2):uint(), tvb(at + 92, 2):uint())
        at = at + ENTRY_BYTES
    end
    return "STATS_REPLY table: " .. (#found > 0 and table.concat(found, " ") or "empty")
end

local BODIES = {
    [1] = { 12, failure },
    [6] = { 32, features_reply },
    [17] = { 12, stats_reply },
    [22] = { 24, cflow_mod },
    [23] = { 88, cport_status },
    [0xFE] = { 88, cport_status },
    [0xFF] = { 24, cflow_mod },
}

local function message(tvb, pinfo, root)
    local kind = tvb(1, 1):uint()
    local tree = root:add(of, tvb())
    tree:add(f.version, tvb(0, 1))
    tree:add(f.type, tvb(1, 1))
    tree:add(f.length, tvb(2, 2))
    tree:add(f.xid, tvb(4, 4))
    local body = BODIES[kind]
    local summary = TYPES[kind] or ("type " .. kind)
    if body then
        local is_whole = tvb:len() >= body[1]
        local ok, said = false, nil
        if is_whole then
            ok, said = pcall(body[2], tvb, tree)
        end
        if ok then
            summary = said
        else
            tree:add_proto_expert_info(e_body)
            summary = summary .. " [malformed]"
        end
    elseif tvb:len() > HEADER_BYTES then
        tree:add(f.body, tvb(HEADER_BYTES))
    end
    tree:append_text(": " .. summary)
    pinfo.cols.protocol = "CFLOW_MOD"
    pinfo.cols.info:append(summary .. "  ")
    return tvb:len()
end

local function length_of(tvb, _, offset)
    local length = tvb(offset + 2, 2):uint()
    -- A length below the header's leaves no way to the next message.
    return length < HEADER_BYTES and HEADER_BYTES or length
end

function of.dissector(tvb, pinfo, root)
    pinfo.cols.info = ""
    dissect_tcp_pdus(tvb, root, HEADER_BYTES, length_of, message)
    return tvb:len()
end

local registered = nil
local function register()
    local ports = DissectorTable.get("tcp.port")
    if registered then
        ports:remove(registered, of)
    end
    registered = of.prefs.port > 0 and of.prefs.port or nil
    if registered then
        ports:add(registered, of)
    end
end
DissectorTable.get("tcp.port"):add_for_decode_as(of)
of.prefs_changed = register
register()
