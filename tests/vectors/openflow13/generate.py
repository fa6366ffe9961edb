"""Writes messages.json and replies.json with os-ken's OpenFlow 1.3 codec, which shares no line with
ours.

    pip install os-ken          (in an environment of its own; not a dependency of this project)
    python tests/vectors/openflow13/generate.py

What os-ken cannot write (malformed bytes) is in malformed.json, made by hand.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from os_ken.ofproto import ofproto_v1_3 as number
from os_ken.ofproto import ofproto_v1_3_parser as osken
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

HERE = Path(__file__).parent
SOURCE = "written by os-ken 4.2, see generate.py"
DATAPATH = ProtocolDesc(version=number.OFP_VERSION)


def _raw(message: Any, xid: int) -> str:
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf).hex()


def _row(name: str, message: Any, ours: str, xid: int, **fields: Any) -> dict[str, Any]:
    """A vector: our class is `ours`, and its fields read `fields`."""
    return {"name": name, "hex": _raw(message, xid), "type": ours, "xid": xid, "fields": fields}


def _flow_mod(command: int, in_port: int | None, outputs: tuple[int, ...], **more: Any) -> Any:
    match = osken.OFPMatch(in_port=in_port) if in_port else osken.OFPMatch()
    actions = [osken.OFPActionOutput(port, 0) for port in outputs]
    instructions = [osken.OFPInstructionActions(4, actions)] if outputs else []
    return osken.OFPFlowMod(
        DATAPATH, command=command, match=match, instructions=instructions, **more
    )


def messages() -> list[dict[str, Any]]:
    """What a controller sends, and what both send."""
    everything = osken.OFPMatch()
    return [
        _row("hello without bitmap", osken.OFPHello(DATAPATH), "Hello", 1, versions=None),
        _row(
            "echo request", osken.OFPEchoRequest(DATAPATH, b"abc"), "EchoRequest", 2, data="616263"
        ),
        _row("echo reply", osken.OFPEchoReply(DATAPATH, b"abc"), "EchoReply", 2, data="616263"),
        _row(
            "error",
            osken.OFPErrorMsg(DATAPATH, 5, 3, b"abcd"),
            "ErrorMessage",
            3,
            type=5,
            code=3,
            data="61626364",
        ),
        _row("features request", osken.OFPFeaturesRequest(DATAPATH), "FeaturesRequest", 4),
        _row("get config", osken.OFPGetConfigRequest(DATAPATH), "GetConfigRequest", 5),
        _row(
            "set config",
            osken.OFPSetConfig(DATAPATH, 0, 128),
            "SetConfig",
            6,
            flags=0,
            miss_send_len=128,
        ),
        _row("barrier request", osken.OFPBarrierRequest(DATAPATH), "BarrierRequest", 7),
        _row("barrier reply", osken.OFPBarrierReply(DATAPATH), "BarrierReply", 7),
        _row(
            "role request",
            osken.OFPRoleRequest(DATAPATH, 2, 9),
            "RoleRequest",
            8,
            role=2,
            generation_id=9,
        ),
        _row("get async", osken.OFPGetAsyncRequest(DATAPATH), "GetAsyncRequest", 9),
        _row(
            "set async",
            osken.OFPSetAsync(DATAPATH, (1, 2), (3, 4), (5, 6)),
            "SetAsync",
            10,
            packet_in=[1, 2],
            port_status=[3, 4],
            flow_removed=[5, 6],
        ),
        _row(
            "add 1 to 97",
            _flow_mod(0, 1, (97,), priority=100, cookie=2**63),
            "FlowMod",
            11,
            command=0,
            in_port=1,
            outputs=[97],
            priority=100,
            cookie=2**63,
            table_id=0,
            idle_timeout_s=0,
            hard_timeout_s=0,
            buffer_id=0xFFFFFFFF,
            flags=0,
        ),
        _row(
            "add with two outputs, timeouts and flags",
            _flow_mod(0, 3, (4, 5), idle_timeout=6, hard_timeout=7, flags=1, table_id=2),
            "FlowMod",
            12,
            command=0,
            in_port=3,
            outputs=[4, 5],
            idle_timeout_s=6,
            hard_timeout_s=7,
            flags=1,
            table_id=2,
        ),
        _row(
            "delete by in_port",
            _flow_mod(
                3, 1, (), table_id=255, out_port=9, out_group=0xFFFFFFFF, cookie=5, cookie_mask=7
            ),
            "FlowMod",
            13,
            command=3,
            in_port=1,
            outputs=None,
            table_id=255,
            out_port=9,
            out_group=0xFFFFFFFF,
            cookie=5,
            cookie_mask=7,
        ),
        _row(
            "delete everything",
            _flow_mod(3, None, (), out_port=0xFFFFFFFF, out_group=0xFFFFFFFF),
            "FlowMod",
            14,
            command=3,
            in_port=None,
            outputs=None,
        ),
        _row(
            "description request",
            osken.OFPDescStatsRequest(DATAPATH, 0),
            "MultipartRequest",
            15,
            kind=0,
        ),
        _row(
            "flows request",
            osken.OFPFlowStatsRequest(
                DATAPATH, 0, 0, 7, 0xFFFFFFFF, 1, 3, osken.OFPMatch(in_port=2)
            ),
            "MultipartRequest",
            16,
            kind=1,
            in_port=2,
            out_port=7,
            cookie=1,
            cookie_mask=3,
            table_id=0,
        ),
        _row(
            "aggregate request",
            osken.OFPAggregateStatsRequest(
                DATAPATH, 0, 255, 0xFFFFFFFF, 0xFFFFFFFF, 0, 0, everything
            ),
            "MultipartRequest",
            17,
            kind=2,
            in_port=None,
            table_id=255,
        ),
        _row(
            "table request", osken.OFPTableStatsRequest(DATAPATH, 0), "MultipartRequest", 18, kind=3
        ),
        _row(
            "port statistics request",
            osken.OFPPortStatsRequest(DATAPATH, 0, 5),
            "MultipartRequest",
            19,
            kind=4,
            port_no=5,
        ),
        _row(
            "port description request",
            osken.OFPPortDescStatsRequest(DATAPATH, 0),
            "MultipartRequest",
            20,
            kind=13,
        ),
        _row(
            "meter features request",
            osken.OFPMeterFeaturesStatsRequest(DATAPATH, 0),
            "MultipartRequest",
            21,
            kind=11,
        ),
        _row(
            "group features request",
            osken.OFPGroupFeaturesStatsRequest(DATAPATH, 0),
            "MultipartRequest",
            22,
            kind=8,
        ),
    ]


# --- what a switch sends: os-ken cannot write it all; it is put together here, and os-ken reads it


def _reply(title: str, kind: int, body: bytes, **fields: Any) -> dict[str, Any]:
    head = struct.pack(number.OFP_MULTIPART_REPLY_PACK_STR, kind, 0)
    return _framed(title, number.OFPT_MULTIPART_REPLY, head + body, "MultipartReply", **fields)


def _framed(title: str, kind: int, body: bytes, ours: str, **fields: Any) -> dict[str, Any]:
    header = struct.pack(number.OFP_HEADER_PACK_STR, 4, kind, 8 + len(body), 0x21)
    raw = header + body
    read = osken.msg_parser(DATAPATH, 4, kind, len(raw), 0x21, raw)
    print(title, "as os-ken reads it:", read)
    return {"name": title, "hex": raw.hex(), "type": ours, "xid": 0x21, "fields": fields}


def _match() -> bytes:
    buffer = bytearray()
    osken.OFPMatch(in_port=2).serialize(buffer, 0)
    return bytes(buffer)


def _port(number_: int, state: int) -> bytes:
    return struct.pack(
        number.OFP_PORT_PACK_STR,
        number_,
        b"\x02\x00\x00\x01\x00\x03",
        b"vs-1-p3",
        1,
        state,
        0x1400,
        0,
        0x1400,
        0,
        0,
        0,
    )


def replies() -> list[dict[str, Any]]:
    """What a switch sends."""
    features = struct.pack(number.OFP_SWITCH_FEATURES_PACK_STR, 0x101, 0, 1, 0, 7, 0)
    config = struct.pack(number.OFP_SWITCH_CONFIG_PACK_STR, 0, 128)
    status = struct.pack("!B7x", 2) + _port(3, 1)
    removed = struct.pack("!QHBBIIHHQQ", 77, 100, 2, 0, 5, 6, 0, 0, 8, 9) + _match()
    role = struct.pack(number.OFP_ROLE_REQUEST_PACK_STR, 2, 9)
    instruction = bytearray()
    osken.OFPInstructionActions(4, [osken.OFPActionOutput(1, 0)]).serialize(instruction, 0)
    rest = _match() + bytes(instruction)
    flow = struct.pack("!HBxIIHHHH4xQQQ", 48 + len(rest), 0, 5, 6, 100, 0, 0, 1, 77, 8, 9) + rest
    counters = struct.pack(number.OFP_PORT_STATS_PACK_STR, 3, *range(1, 13), 5, 6)
    table = struct.pack(number.OFP_TABLE_STATS_PACK_STR, 0, 4, 10, 11)
    total = struct.pack(number.OFP_AGGREGATE_STATS_REPLY_PACK_STR, 8, 9, 4)
    description = struct.pack(number.OFP_DESC_PACK_STR, b"qnfv", b"fibre", b"agent", b"1", b"vs-1")
    return [
        _framed("hello", 0, struct.pack("!HHI", 1, 8, 1 << 4), "Hello", versions=[4]),
        _framed(
            "features reply",
            6,
            features,
            "FeaturesReply",
            datapath_id=0x101,
            n_tables=1,
            auxiliary_id=0,
            capabilities=7,
        ),
        _framed("config reply", 8, config, "GetConfigReply", flags=0, miss_send_len=128),
        _framed(
            "flow removed",
            11,
            removed,
            "FlowRemoved",
            in_port=2,
            priority=100,
            cookie=77,
            reason=2,
            duration_s=5,
            duration_ns=6,
            packet_count=8,
            byte_count=9,
        ),
        _framed("port status", 12, status, "PortStatus", reason=2, port_no=3, state=1),
        _framed("role reply", 25, role, "RoleReply", role=2, generation_id=9),
        _framed(
            "async reply",
            27,
            struct.pack("!6I", 1, 2, 3, 4, 5, 6),
            "GetAsyncReply",
            packet_in=[1, 2],
            port_status=[3, 4],
            flow_removed=[5, 6],
        ),
        _reply(
            "description",
            0,
            description,
            manufacturer="qnfv",
            hardware="fibre",
            software="agent",
            serial="1",
            datapath="vs-1",
        ),
        _reply(
            "one flow",
            1,
            flow,
            in_port=2,
            outputs=[1],
            priority=100,
            cookie=77,
            duration_s=5,
            duration_ns=6,
            flags=1,
            packet_count=8,
            byte_count=9,
        ),
        _reply("aggregate", 2, total, packet_count=8, byte_count=9, flow_count=4),
        _reply("table", 3, table, table_id=0, active_count=4, lookup_count=10, matched_count=11),
        _reply(
            "port statistics",
            4,
            counters,
            port_no=3,
            counters=list(range(1, 13)),
            duration_s=5,
            duration_ns=6,
        ),
        _reply(
            "port description",
            13,
            _port(3, 4),
            port_no=3,
            name="vs-1-p3",
            config=1,
            state=4,
            curr=0x1400,
            supported=0x1400,
            hw_addr="020000010003",
        ),
    ]


if __name__ == "__main__":
    for file, rows in (("messages.json", messages()), ("replies.json", replies())):
        text = json.dumps({"source": SOURCE, "vectors": rows}, indent=1)
        (HERE / file).write_text(text + "\n", "utf-8")
