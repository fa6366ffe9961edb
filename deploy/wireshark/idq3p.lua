-- IDQ3P, the key server protocol of the Clavis2 (idq3p/PROTOCOL.md), for Wireshark and tshark.
--
-- The key's octets are never shown: a capture file holds them all the same, so treat it as a key.

local idq3p = Proto("idq3p", "ID Quantique Key Server Protocol")

local TYPES = { [0] = "Request", [1] = "Response" }
local STATUSES = {
    [0] = "Success",
    [1] = "NoMoreKeys",
    [2] = "KeyIDDoesntExist",
    [3] = "WrongKeyLength",
    [4] = "InvalidKeyRequest",
}
local REQUEST_BYTES, RESPONSE_BYTES = 29, 62

local f = {
    type = ProtoField.uint8("idq3p.type", "Datagram type", base.DEC, TYPES),
    key_id = ProtoField.string("idq3p.key_id", "Key id"),
    key_length = ProtoField.uint8("idq3p.key_length", "Key length", base.DEC),
    request_id = ProtoField.uint32("idq3p.request_id", "Request id", base.HEX),
    status = ProtoField.uint8("idq3p.status", "Error status", base.DEC, STATUSES),
    key = ProtoField.string("idq3p.key", "Key"),
    device = ProtoField.uint8("idq3p.device", "Requesting device", base.DEC),
    reserved = ProtoField.bytes("idq3p.reserved", "Reserved"),
    crc = ProtoField.uint32("idq3p.crc", "CRC-32", base.HEX),
}
idq3p.fields = f

local e_crc = ProtoExpert.new(
    "idq3p.crc.bad", "Wrong CRC", expert.group.CHECKSUM, expert.severity.ERROR)
local e_length = ProtoExpert.new(
    "idq3p.length.bad", "Wrong length", expert.group.MALFORMED, expert.severity.ERROR)
idq3p.experts = { e_crc, e_length }

idq3p.prefs.port = Pref.uint("UDP port", 5323, "The port of the key server")
idq3p.prefs.big_endian = Pref.bool(
    "Ids in network byte order", false, "The vendor's ids are little-endian unless this is set")

-- CRC-32/BZIP2: polynomial 04C11DB7, not reflected, initial value and final XOR FFFFFFFF.
local function crc32(tvb, length)
    local crc = 0xFFFFFFFF
    for at = 0, length - 1 do
        crc = bit32.bxor(crc, bit32.lshift(tvb(at, 1):uint(), 24))
        for _ = 1, 8 do
            if bit32.btest(crc, 0x80000000) then
                crc = bit32.bxor(bit32.lshift(crc, 1), 0x04C11DB7)
            else
                crc = bit32.lshift(crc, 1)
            end
        end
    end
    return bit32.bxor(crc, 0xFFFFFFFF)
end

local function word(range)
    if idq3p.prefs.big_endian then
        return range:uint()
    end
    return range:le_uint()
end

local function add_word(tree, field, range)
    if idq3p.prefs.big_endian then
        tree:add(field, range)
    else
        tree:add_le(field, range)
    end
end

function idq3p.dissector(tvb, pinfo, root)
    local length = tvb:len()
    if length ~= REQUEST_BYTES and length ~= RESPONSE_BYTES then
        return 0
    end
    pinfo.cols.protocol = "IDQ3P"
    local is_response = tvb(0, 1):uint() == 1
    local tree = root:add(idq3p, tvb())
    tree:add(f.type, tvb(0, 1))
    if length ~= (is_response and RESPONSE_BYTES or REQUEST_BYTES) then
        tree:add_proto_expert_info(e_length)
        return length
    end
    local id = string.format("%08x%08x", word(tvb(1, 4)), word(tvb(5, 4)))
    tree:add(f.key_id, tvb(1, 8), id)
    tree:add(f.key_length, tvb(9, 1))
    add_word(tree, f.request_id, tvb(10, 4))
    local info
    if is_response then
        local status = tvb(14, 1):uint()
        tree:add(f.status, tvb(14, 1))
        tree:add(f.key, tvb(15, 32), "32 octets, not shown")
        tree:add(f.device, tvb(47, 1))
        tree:add(f.reserved, tvb(48, 10))
        info = "Key response: " .. (STATUSES[status] or ("status " .. status))
        if status == 0 then
            info = info .. ", key " .. id
        end
    else
        tree:add(f.device, tvb(14, 1))
        tree:add(f.reserved, tvb(15, 10))
        if id == "0000000000000000" then
            info = "Key request: a new key"
        else
            info = "Key request: key " .. id
        end
    end
    local crc = tree:add(f.crc, tvb(length - 4, 4))
    if tvb(length - 4, 4):uint() ~= crc32(tvb, length - 4) then
        crc:add_proto_expert_info(e_crc)
        info = info .. " [wrong CRC]"
    end
    pinfo.cols.info = info
    return length
end

local registered = nil
local function register()
    local table = DissectorTable.get("udp.port")
    if registered then
        table:remove(registered, idq3p)
    end
    registered = idq3p.prefs.port
    table:add(registered, idq3p)
end
idq3p.prefs_changed = register
register()
