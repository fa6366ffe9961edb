"""The bodies of multipart messages (OPENFLOW13.md section 6)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from sdn_client.openflow13 import constants as c
from sdn_client.openflow13.constants import MultipartType
from sdn_client.openflow13.structures import (
    EVERYTHING,
    ApplyActions,
    Instruction,
    Match,
    Port,
    malformed,
    read_instructions,
    read_match,
)

_FLOW_REQUEST = struct.Struct("!B3xII4xQQ")
_PORT_REQUEST = struct.Struct("!I4x")
_DESC = struct.Struct("!256s256s256s32s256s")
_FLOW = struct.Struct("!HBxIIHHHH4xQQQ")
_AGGREGATE = struct.Struct("!QQI4x")
_TABLE = struct.Struct("!B3xIQQ")
_PORT_STATS = struct.Struct("!I4x12QII")


class Body(Protocol):
    """What stands behind the multipart header."""

    @property
    def KIND(self) -> int: ...

    def encode(self) -> bytes: ...


@dataclass(frozen=True)
class RawBody:
    """A body that is not read here, or has no bytes (DESC, TABLE, PORT_DESC, ... requests)."""

    KIND: int
    data: bytes = b""

    def encode(self) -> bytes:
        return self.data


@dataclass(frozen=True)
class FlowRequest:
    """Which flows are asked for; the defaults ask for all."""

    KIND: ClassVar[int] = MultipartType.FLOW

    match: Match = EVERYTHING
    table_id: int = c.TABLE_ALL
    out_port: int = c.PORT_ANY
    out_group: int = c.GROUP_ANY
    cookie: int = 0
    cookie_mask: int = 0

    def encode(self) -> bytes:
        head = _FLOW_REQUEST.pack(
            self.table_id, self.out_port, self.out_group, self.cookie, self.cookie_mask
        )
        return head + self.match.encode()


@dataclass(frozen=True)
class AggregateRequest(FlowRequest):
    """The same question; the answer is a sum."""

    KIND: ClassVar[int] = MultipartType.AGGREGATE


@dataclass(frozen=True)
class PortStatsRequest:
    KIND: ClassVar[int] = MultipartType.PORT_STATS

    port_no: int = c.PORT_ANY

    def encode(self) -> bytes:
        return _PORT_REQUEST.pack(self.port_no)


@dataclass(frozen=True)
class Description:
    """Who the switch is, in ASCII."""

    KIND: ClassVar[int] = MultipartType.DESC

    manufacturer: str = ""
    hardware: str = ""
    software: str = ""
    serial: str = ""
    datapath: str = ""

    def encode(self) -> bytes:
        texts = (self.manufacturer, self.hardware, self.software, self.serial, self.datapath)
        sizes = (255, 255, 255, 31, 255)  # each ends with a NUL
        return _DESC.pack(
            *(t.encode("ascii", "replace")[:n] for t, n in zip(texts, sizes, strict=True))
        )


@dataclass(frozen=True)
class FlowStats:
    """One flow; counters that a fibre does not have are `NO_COUNTER`."""

    match: Match
    instructions: tuple[ApplyActions | Instruction, ...]
    priority: int = 0x8000
    cookie: int = 0
    duration_s: int = 0
    duration_ns: int = 0
    table_id: int = 0
    idle_timeout_s: int = 0
    hard_timeout_s: int = 0
    flags: int = 0
    packet_count: int = c.NO_COUNTER
    byte_count: int = c.NO_COUNTER

    def encode(self) -> bytes:
        rest = self.match.encode() + b"".join(i.encode() for i in self.instructions)
        head = _FLOW.pack(
            _FLOW.size + len(rest),
            self.table_id,
            self.duration_s,
            self.duration_ns,
            self.priority,
            self.idle_timeout_s,
            self.hard_timeout_s,
            self.flags,
            self.cookie,
            self.packet_count,
            self.byte_count,
        )
        return head + rest


@dataclass(frozen=True)
class FlowReply:
    KIND: ClassVar[int] = MultipartType.FLOW

    flows: tuple[FlowStats, ...] = ()

    def encode(self) -> bytes:
        return b"".join(f.encode() for f in self.flows)


@dataclass(frozen=True)
class AggregateReply:
    KIND: ClassVar[int] = MultipartType.AGGREGATE

    flow_count: int
    packet_count: int = c.NO_COUNTER
    byte_count: int = c.NO_COUNTER

    def encode(self) -> bytes:
        return _AGGREGATE.pack(self.packet_count, self.byte_count, self.flow_count)


@dataclass(frozen=True)
class TableStats:
    table_id: int
    active_count: int
    lookup_count: int = c.NO_COUNTER
    matched_count: int = c.NO_COUNTER


@dataclass(frozen=True)
class TableReply:
    KIND: ClassVar[int] = MultipartType.TABLE

    tables: tuple[TableStats, ...] = ()

    def encode(self) -> bytes:
        return b"".join(
            _TABLE.pack(t.table_id, t.active_count, t.lookup_count, t.matched_count)
            for t in self.tables
        )


@dataclass(frozen=True)
class PortStats:
    """Counters in the order of the specification: rx and tx packets, bytes, dropped, errors, then
    frame, overrun and CRC errors, and collisions."""

    port_no: int
    duration_s: int = 0
    duration_ns: int = 0
    counters: tuple[int, ...] = (c.NO_COUNTER,) * 12


@dataclass(frozen=True)
class PortStatsReply:
    KIND: ClassVar[int] = MultipartType.PORT_STATS

    ports: tuple[PortStats, ...] = ()

    def encode(self) -> bytes:
        return b"".join(
            _PORT_STATS.pack(p.port_no, *p.counters, p.duration_s, p.duration_ns)
            for p in self.ports
        )


@dataclass(frozen=True)
class PortDescriptionReply:
    KIND: ClassVar[int] = MultipartType.PORT_DESC

    ports: tuple[Port, ...] = ()

    def encode(self) -> bytes:
        return b"".join(p.encode() for p in self.ports)


def no_groups() -> RawBody:
    """GROUP_FEATURES of a switch without groups: all zero."""
    return RawBody(MultipartType.GROUP_FEATURES, bytes(40))


def no_meters() -> RawBody:
    """METER_FEATURES of a switch without meters: all zero."""
    return RawBody(MultipartType.METER_FEATURES, bytes(16))


# --- reading -------------------------------------------------------------------------------------


def read_request(kind: int, data: bytes) -> Body:
    """The body of a MULTIPART_REQUEST of type `kind`."""
    match kind:
        case MultipartType.FLOW:
            return _flow_request(FlowRequest, data)
        case MultipartType.AGGREGATE:
            return _flow_request(AggregateRequest, data)
        case MultipartType.PORT_STATS:
            if len(data) != _PORT_REQUEST.size:
                raise malformed("PORT_STATS request", f"{len(data)} bytes of body instead of 8")
            return PortStatsRequest(*_PORT_REQUEST.unpack(data))
    return RawBody(kind, data)


def _flow_request(cls: type[FlowRequest], data: bytes) -> FlowRequest:
    what = f"{MultipartType(cls.KIND).name} request"
    if len(data) < _FLOW_REQUEST.size:
        raise malformed(what, f"{len(data)} bytes of body, at least {_FLOW_REQUEST.size} needed")
    match, taken = read_match(data[_FLOW_REQUEST.size :], what)
    if _FLOW_REQUEST.size + taken != len(data):
        raise malformed(what, "bytes behind its match")
    return cls(match, *_FLOW_REQUEST.unpack_from(data))


def read_reply(kind: int, data: bytes) -> Body:
    """The body of a MULTIPART_REPLY of type `kind`."""
    reader = _REPLIES.get(kind)
    return RawBody(kind, data) if reader is None else reader(data)


def _pieces(what: str, layout: struct.Struct | int, data: bytes) -> list[bytes]:
    size = layout if isinstance(layout, int) else layout.size
    if len(data) % size:
        raise malformed(what, f"{len(data)} bytes are no multiple of {size}")
    return [data[at : at + size] for at in range(0, len(data), size)]


def _description(data: bytes) -> Description:
    if len(data) != _DESC.size:
        raise malformed("DESC reply", f"{len(data)} bytes instead of {_DESC.size}")
    texts = (t.split(b"\0", 1)[0].decode("ascii", "replace") for t in _DESC.unpack(data))
    return Description(*texts)


def _flows(data: bytes) -> FlowReply:
    flows, at = [], 0
    while at < len(data):
        if len(data) - at < _FLOW.size:
            raise malformed("FLOW reply", "half an entry")
        length, table_id, *numbers = _FLOW.unpack_from(data, at)
        if not _FLOW.size <= length <= len(data) - at:
            raise malformed("FLOW reply", f"an entry of {length} bytes in {len(data) - at}")
        entry = data[at + _FLOW.size : at + length]
        match, taken = read_match(entry, "FLOW reply")
        instructions = read_instructions(entry[taken:], "FLOW reply")
        duration_s, duration_ns, priority, idle, hard, flags, cookie, packets, octets = numbers
        flows.append(
            FlowStats(
                match,
                instructions,
                priority,
                cookie,
                duration_s,
                duration_ns,
                table_id,
                idle,
                hard,
                flags,
                packets,
                octets,
            )
        )
        at += length
    return FlowReply(tuple(flows))


def _aggregate(data: bytes) -> AggregateReply:
    if len(data) != _AGGREGATE.size:
        raise malformed("AGGREGATE reply", f"{len(data)} bytes instead of {_AGGREGATE.size}")
    packets, octets, flows = _AGGREGATE.unpack(data)
    return AggregateReply(flows, packets, octets)


def _tables(data: bytes) -> TableReply:
    return TableReply(
        tuple(TableStats(*_TABLE.unpack(p)) for p in _pieces("TABLE reply", _TABLE, data))
    )


def _port_stats(data: bytes) -> PortStatsReply:
    ports = []
    for piece in _pieces("PORT_STATS reply", _PORT_STATS, data):
        port_no, *rest = _PORT_STATS.unpack(piece)
        ports.append(PortStats(port_no, rest[-2], rest[-1], tuple(rest[:-2])))
    return PortStatsReply(tuple(ports))


def _ports(data: bytes) -> PortDescriptionReply:
    pieces = _pieces("PORT_DESC reply", Port.SIZE, data)
    return PortDescriptionReply(tuple(Port.decode(p) for p in pieces))


_REPLIES: dict[int, Callable[[bytes], Body]] = {
    MultipartType.DESC: _description,
    MultipartType.FLOW: _flows,
    MultipartType.AGGREGATE: _aggregate,
    MultipartType.TABLE: _tables,
    MultipartType.PORT_STATS: _port_stats,
    MultipartType.PORT_DESC: _ports,
}
