"""The codec against the vectors, against itself, and against any bytes at all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdn_client import cflow_mod
from sdn_client.cflow_mod import (
    CFlowMod,
    CircuitPort,
    Components,
    ErrorMessage,
    FeaturesReply,
    FlowEntry,
    FlowStatsReply,
    FrameReader,
    Hello,
    Message,
    TdmPort,
    Unsupported,
    WavePort,
    decode,
    encode,
)
from sdn_client.errors import MalformedMessage

VECTORS = Path(__file__).parents[2] / "vectors" / "cflow_mod"


def vectors(name: str) -> list[Any]:
    rows = json.loads((VECTORS / name).read_text())["vectors"]
    return [pytest.param(row, id=row["name"]) for row in rows]


def read_one(data: bytes) -> Message:
    (frame,) = FrameReader().feed(data)
    return decode(frame)


def cflow_of(row: dict[str, Any]) -> CFlowMod:
    m = row["message"]
    return CFlowMod(
        m["xid"],
        m["command"],
        Components(
            tuple(m.get("in_ports", ())),
            tuple(m.get("out_ports", ())),
            tuple(TdmPort(*t) for t in m.get("in_tdm", ())),
            tuple(TdmPort(*t) for t in m.get("out_tdm", ())),
            tuple(WavePort(*w) for w in m.get("in_wave", ())),
            tuple(WavePort(*w) for w in m.get("out_wave", ())),
        ),
    )


@pytest.mark.parametrize("row", vectors("cflow_mod.json"))
def test_cflow_mod_vector_is_written_and_read(row: dict[str, Any]) -> None:
    assert encode(cflow_of(row)).hex() == row["hex"]
    assert read_one(bytes.fromhex(row["hex"])) == cflow_of(row)


def test_single_fibre_pairs_sit_where_the_2014_agent_reads_them() -> None:
    raw = encode(CFlowMod(1, 0, Components.fibre((1, 97))))
    assert (raw[25], raw[27], raw[8]) == (1, 97, 0)


@pytest.mark.parametrize("row", vectors("other_messages.json"))
def test_other_vector_is_written_and_read(row: dict[str, Any]) -> None:
    raw = bytes.fromhex(row["hex"])
    message = read_one(raw)
    assert type(message).__name__ == row["type"]
    assert encode(message) == raw
    for name, expected in row["fields"].items():
        value = getattr(message, name)
        if isinstance(value, bytes):
            value = value.hex()
        if name == "entries":
            value = [list(dataclasses.astuple(entry)) for entry in value]
        assert value == expected


@pytest.mark.parametrize("row", vectors("features_reply.json"))
def test_features_reply_vector(row: dict[str, Any]) -> None:
    raw = bytes.fromhex(row["hex"])
    reply = read_one(raw)
    assert isinstance(reply, FeaturesReply)
    assert reply.datapath_id == row["datapath_id"]
    seen = [
        {"port_no": p.port_no, "name": p.name, "config": p.config, "state": p.state}
        for p in reply.cports
    ]
    assert seen == row["cports"]
    if row["canonical"]:
        assert encode(reply) == raw


def test_more_ports_than_the_count_can_say() -> None:
    many = json.loads((VECTORS / "features_reply.json").read_text())["many_ports"]["count"]
    raw = encode(FeaturesReply(1, 9, tuple(CircuitPort(n) for n in range(1, many + 1))))
    assert raw[21] == 255
    reply = read_one(raw)
    assert isinstance(reply, FeaturesReply)
    assert [p.port_no for p in reply.cports] == list(range(1, many + 1))


@pytest.mark.parametrize("row", vectors("malformed.json"))
def test_malformed_bytes_are_a_typed_error(row: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage):
        read_one(bytes.fromhex(row["hex"]))


def test_the_2014_type_numbers_are_read_too() -> None:
    raw = bytearray(encode(CFlowMod(1, 3, Components.fibre((1, 2)))))
    raw[1] = 22
    assert read_one(bytes(raw)) == CFlowMod(1, 3, Components.fibre((1, 2)))


def test_a_hello_of_another_version_is_a_hello_and_other_messages_are_not_read() -> None:
    assert read_one(bytes.fromhex("0400000800000005")) == Hello(5)
    assert isinstance(read_one(bytes.fromhex("0412000800000005")), Unsupported)


def test_a_frame_above_the_limit_is_refused_before_it_is_collected() -> None:
    reader = FrameReader(max_length=64)
    with pytest.raises(MalformedMessage, match="65 bytes"):
        list(reader.feed(bytes.fromhex("0102004100000001")))


@pytest.mark.parametrize("port", [-1, 0x10000])
def test_a_port_that_no_field_holds_is_a_value_error(port: int) -> None:
    with pytest.raises(ValueError, match="fit"):
        encode(CFlowMod(1, 0, Components.fibre((port, 1))))


# --- properties ----------------------------------------------------------------------------------

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, 2**64 - 1)


@st.composite
def components(draw: st.DrawFn) -> Components:
    count = draw(st.integers(1, 5))

    def maybe(element: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        lists = st.lists(element, min_size=count, max_size=count)
        return tuple(draw(st.one_of(st.just([]), lists)))

    tdm = st.builds(TdmPort, u16, u16, u32)
    wave = st.builds(WavePort, u16, u64)
    arrays = [maybe(u16), maybe(u16), maybe(tdm), maybe(tdm), maybe(wave), maybe(wave)]
    if not any(arrays):
        arrays[0] = tuple(draw(st.lists(u16, min_size=count, max_size=count)))
    return Components(*arrays)


messages = st.one_of(
    st.builds(CFlowMod, u32, u16, components(), u16),
    st.builds(ErrorMessage, u32, u16, u16, st.binary(max_size=100)),
    st.builds(
        FlowStatsReply,
        u32,
        st.lists(st.builds(FlowEntry, u16, u16, u32, u32), max_size=20).map(tuple),
        st.booleans(),
    ),
    st.builds(
        FeaturesReply,
        u32,
        u64,
        st.lists(
            st.builds(CircuitPort, u16, st.text("abc-1", max_size=16), config=u32, state=u32),
            min_size=1,
            max_size=300,
        ).map(tuple),
    ),
)


@given(messages)
def test_what_is_written_is_read_back(message: Message) -> None:
    assert read_one(encode(message)) == message


@given(st.lists(messages, max_size=4), st.integers(1, 40))
def test_the_cuts_of_the_stream_do_not_matter(sent: list[Message], piece: int) -> None:
    stream = b"".join(encode(m) for m in sent)
    reader = FrameReader()
    seen = [
        decode(frame)
        for at in range(0, len(stream), piece)
        for frame in reader.feed(stream[at : at + piece])
    ]
    assert seen == sent


@given(st.sampled_from([*range(0, 25), 0xFE, 0xFF]), st.binary(max_size=300), u32)
def test_any_body_is_a_message_or_a_typed_error(kind: int, body: bytes, xid: int) -> None:
    raw = bytes([1, kind]) + (8 + len(body)).to_bytes(2, "big") + xid.to_bytes(4, "big") + body
    try:
        message = read_one(raw)
    except MalformedMessage:
        return
    assert message.xid == xid


@given(st.binary(max_size=2000))
def test_any_stream_is_frames_or_a_typed_error(stream: bytes) -> None:
    try:
        frames = list(FrameReader().feed(stream))
    except MalformedMessage:
        return
    assert b"".join(f.raw for f in frames) == stream[: sum(len(f.raw) for f in frames)]


def test_every_public_name_exists() -> None:
    assert all(hasattr(cflow_mod, name) for name in cflow_mod.__all__)
