"""The OpenFlow 1.3 codec against the vectors, against itself, and against any bytes at all."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdn_client.errors import MalformedMessage
from sdn_client.openflow13 import constants as c
from sdn_client.openflow13 import messages as of
from sdn_client.openflow13 import multipart as mp
from sdn_client.openflow13.reading import decode
from sdn_client.openflow13.structures import (
    Action,
    ApplyActions,
    Instruction,
    Match,
    Output,
    OxmField,
    Port,
)
from sdn_client.openflow_framing import FrameReader

VECTORS = Path(__file__).parents[2] / "vectors" / "openflow13"


def vectors(name: str) -> list[Any]:
    rows = json.loads((VECTORS / name).read_text())["vectors"]
    return [pytest.param(row, id=row["name"]) for row in rows]


def read_one(data: bytes) -> of.Message:
    (frame,) = FrameReader().feed(data)
    return decode(frame)


def fields_of(message: of.Message) -> dict[str, Any]:
    """All that a vector may name, as plain values."""
    found: dict[str, Any] = dict(vars(message))
    content = getattr(message, "content", None)
    if content is not None:
        found |= {"kind": int(content.KIND), **vars(content)}
        for elements in ("flows", "ports", "tables"):
            if rows := getattr(content, elements, ()):
                found |= vars(rows[0])
    if isinstance(message, of.PortStatus):
        found |= vars(message.port)
    if isinstance(match := found.get("match"), Match):
        payload = match.fields[0].payload if match.fields else None
        found["in_port"] = struct.unpack("!I", payload)[0] if payload else None
    if (instructions := found.get("instructions")) is not None:
        applied = [i for i in instructions if isinstance(i, ApplyActions)]
        found["outputs"] = [a.port for a in applied[0].actions] if applied else None
    return {name: plain(value) for name, value in found.items()}


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, frozenset):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("row", [*vectors("messages.json"), *vectors("replies.json")])
def test_vector_is_read_and_written(row: dict[str, Any]) -> None:
    raw = bytes.fromhex(row["hex"])
    message = read_one(raw)
    assert (type(message).__name__, message.xid) == (row["type"], row["xid"])
    found = fields_of(message)
    assert {name: found[name] for name in row["fields"]} == row["fields"]
    assert of.encode(message) == raw


@pytest.mark.parametrize("row", vectors("malformed.json"))
def test_malformed_bytes_are_a_typed_error(row: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage):
        read_one(bytes.fromhex(row["hex"]))


def test_other_types_and_versions_are_kept_as_they_stand() -> None:
    for raw in (bytes.fromhex("046300090000000501"), bytes.fromhex("0114000800000005")):
        message = read_one(raw)
        assert isinstance(message, of.Unsupported)
        assert of.encode(message) == raw


@pytest.mark.parametrize(
    ("hex_", "speaks"),
    [
        ("0400000800000001", True),
        ("0600000800000001", True),  # a later version that comes down
        ("0100000800000001", False),
        ("06000010000000010001000800000012", True),
        ("06000010000000010001000800000040", False),  # 1.5 alone
        ("040000180000000100020006abcd00000001000800000010", True),  # an unknown element first
        ("0400001000000001000100080000000200", True),
    ],
)
def test_hello_says_whether_1_3_is_spoken(hex_: str, speaks: bool) -> None:
    raw = bytearray.fromhex(hex_)
    if len(raw) == 17:  # rubbish behind the last element, and the bitmap of 1.0
        raw[3], raw[15] = 17, 0x12
    hello = read_one(bytes(raw))
    assert isinstance(hello, of.Hello)
    assert hello.speaks_1_3 is speaks


@pytest.mark.parametrize("port", [-1, 2**32])
def test_a_port_that_no_field_holds_is_a_value_error(port: int) -> None:
    with pytest.raises(ValueError, match="fit"):
        of.encode(of.FlowMod(1, 0, instructions=(ApplyActions((Output(port),)),)))


def test_a_message_longer_than_its_length_field_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="longer"):
        of.encode(of.EchoRequest(1, bytes(65528)))


# --- properties ----------------------------------------------------------------------------------

u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, 2**64 - 1)
ascii_text = st.text("abc-1", max_size=15)
names = ascii_text.map(lambda t: t.strip("\0"))

oxm = st.builds(
    OxmField, st.just(c.OXM_BASIC), st.integers(1, 127), st.binary(max_size=16), st.booleans()
)
matches = st.one_of(
    u32.map(Match.in_port), st.lists(oxm, max_size=4).map(lambda fields: Match(tuple(fields)))
)
outputs = st.builds(Output, u32, u16)
rests = st.integers(0, 4).flatmap(lambda n: st.binary(min_size=8 * n + 4, max_size=8 * n + 4))
other_actions = st.builds(Action, st.integers(1, 0xFFFF), rests)
applied = st.lists(st.one_of(outputs, other_actions), max_size=4).map(
    lambda actions: ApplyActions(tuple(actions))
)
other_instructions = st.builds(Instruction, st.sampled_from([1, 2, 3, 5, 6, 0xFFFF]), rests)
instructions = st.lists(st.one_of(applied, other_instructions), max_size=3).map(tuple)
ports = st.builds(
    Port, u32, names, st.binary(min_size=6, max_size=6), u32, u32, u32, u32, u32, u32, u32, u32
)
flow_stats = st.builds(
    mp.FlowStats, matches, instructions, u16, u64, u32, u32, u8, u16, u16, u16, u64, u64
)
port_stats = st.builds(
    mp.PortStats, u32, u32, u32, st.lists(u64, min_size=12, max_size=12).map(tuple)
)
requests = st.one_of(
    st.builds(mp.FlowRequest, matches, u8, u32, u32, u64, u64),
    st.builds(mp.AggregateRequest, matches, u8, u32, u32, u64, u64),
    st.builds(mp.PortStatsRequest, u32),
    st.builds(mp.RawBody, st.sampled_from([0, 3, 5, 8, 11, 12, 13]), st.binary(max_size=30)),
)
replies = st.one_of(
    st.builds(mp.Description, names, names, names, names, names),
    st.builds(mp.FlowReply, st.lists(flow_stats, max_size=5).map(tuple)),
    st.builds(mp.AggregateReply, u32, u64, u64),
    st.builds(mp.TableReply, st.lists(st.builds(mp.TableStats, u8, u32, u64, u64)).map(tuple)),
    st.builds(mp.PortStatsReply, st.lists(port_stats, max_size=5).map(tuple)),
    st.builds(mp.PortDescriptionReply, st.lists(ports, max_size=5).map(tuple)),
    st.builds(mp.RawBody, st.sampled_from([8, 11, 12]), st.binary(max_size=60)),
)
masks = st.tuples(u32, u32)
messages = st.one_of(
    st.builds(of.Hello, u32, st.frozensets(st.integers(0, 63), min_size=1)),
    st.builds(of.ErrorMessage, u32, u16, u16, st.binary(max_size=100)),
    st.builds(of.FeaturesReply, u32, u64, u32, u8, u8, u32, u32),
    st.builds(of.SetConfig, u32, u16, u16),
    st.builds(of.FlowRemoved, u32, matches, u16, u64, u8, u8, u32, u32, u16, u16, u64, u64),
    st.builds(of.PortStatus, u32, u8, ports),
    st.builds(
        of.FlowMod, u32, u8, matches, instructions, u16, u64, u64, u8, u16, u16, u32, u32, u32, u16
    ),
    st.builds(of.MultipartRequest, u32, requests, u16),
    st.builds(of.MultipartReply, u32, replies, u16),
    st.builds(of.RoleRequest, u32, u32, u64),
    st.builds(of.GetAsyncReply, u32, masks, masks, masks),
    st.builds(of.BarrierReply, u32),
)


@given(messages)
def test_what_is_written_is_read_back(message: of.Message) -> None:
    assert read_one(of.encode(message)) == message


@given(st.lists(messages, max_size=4), st.integers(1, 40))
def test_the_cuts_of_the_stream_do_not_matter(sent: list[of.Message], piece: int) -> None:
    stream = b"".join(of.encode(m) for m in sent)
    reader = FrameReader()
    seen = [
        decode(frame)
        for at in range(0, len(stream), piece)
        for frame in reader.feed(stream[at : at + piece])
    ]
    assert seen == sent


@given(st.integers(0, 30), st.binary(max_size=300), u32)
def test_any_body_is_a_message_or_a_typed_error(kind: int, body: bytes, xid: int) -> None:
    raw = bytes([4, kind]) + (8 + len(body)).to_bytes(2, "big") + xid.to_bytes(4, "big") + body
    try:
        message = read_one(raw)
    except MalformedMessage:
        return
    assert message.xid == xid


@given(st.sampled_from([*range(15), 0xFFFF]), st.binary(max_size=300), st.sampled_from([18, 19]))
def test_any_multipart_is_a_message_or_a_typed_error(kind: int, body: bytes, type_: int) -> None:
    body = struct.pack("!HH4x", kind, 0) + body
    try:
        read_one(bytes([4, type_]) + (8 + len(body)).to_bytes(2, "big") + bytes(4) + body)
    except MalformedMessage:
        return
