"""The messages of CFLOW_MOD.md: one frozen class each, `encode` and `decode`."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

from sdn_client.errors import MalformedMessage
from sdn_client.openflow_framing import HEADER, MAX_LENGTH, Frame
from sdn_client.openflow_messages import (
    ERROR_LAYOUT,
    EchoReply,
    EchoRequest,
    ErrorMessage,
    FeaturesRequest,
    Message,
)

VERSION = 0x01

# Error types and codes (OpenFlow 1.0.0 section 5.4.4; 0xFFFF is the addendum's).
ERROR_BAD_REQUEST = 1
BAD_REQUEST_VERSION, BAD_REQUEST_TYPE, BAD_REQUEST_STAT, BAD_REQUEST_LENGTH = 0, 1, 2, 6
ERROR_BAD_ACTION = 2
BAD_ACTION_TYPE, BAD_ACTION_OUT_PORT = 0, 4
ERROR_FLOW_MOD_FAILED = 3
FLOW_MOD_EPERM, FLOW_MOD_BAD_COMMAND, FLOW_MOD_UNSUPPORTED = 2, 4, 5
ERROR_CFLOW_MOD_FAILED = 0xFFFF
CFLOW_MOD_OVERLAP, CFLOW_MOD_MISMATCH = 1, 2

STATS_FLOW = 1
STATS_MORE = 1
WILDCARD_ALL = 0x003FFFFF
WILDCARD_IN_PORT = 1 << 0
PORT_NONE = 0xFFFF
TABLE_ALL = 0xFF

SWITCH_TYPE_FIBRE = 1 << 15
PORT_FEATURE_FIBRE = 1 << 20
PORT_STATE_LINK_DOWN = 1 << 0
PORT_CONFIG_DOWN = 1 << 0

REASON_ADD, REASON_DELETE, REASON_MODIFY, REASON_BW_MODIFY = 0, 1, 2, 255

_FEATURES = struct.Struct("!QIBB2xII")
_PACKET_PORT_SIZE = 48
_CPORT = struct.Struct("!H6s16sIIIIIIIHHQH6x")
_CPORT_STATUS = struct.Struct("!B7x")
_CFLOW = struct.Struct("!HH4xHH4x")
_TDM = struct.Struct("!HHI")
_WAVE = struct.Struct("!H6xQ")
_ACTION_HEADER = struct.Struct("!HH")
_STATS = struct.Struct("!HH")
_FLOW_REQUEST = struct.Struct("!IH34xBxH")
_FLOW_ENTRY = struct.Struct("!HBxIH34xIIHHH6xQQQ")
_OUTPUT = struct.Struct("!HHHH")


def _malformed(what: str, why: str) -> MalformedMessage:
    return MalformedMessage(
        f"A malformed {what}: {why}.", next_step="The peer's software is at fault; see its log."
    )


@dataclass(frozen=True)
class Hello(Message):
    TYPE = 0


@dataclass(frozen=True)
class CircuitPort:
    """A circuit port (CFLOW_MOD.md section 3). `bandwidth` are the words as they stand."""

    port_no: int
    name: str = ""
    hw_addr: bytes = bytes(6)
    config: int = 0
    state: int = 0
    curr: int = PORT_FEATURE_FIBRE
    advertised: int = 0
    supported: int = PORT_FEATURE_FIBRE
    peer: int = 0
    supp_sw_tdm_gran: int = 0
    supp_swtype: int = SWITCH_TYPE_FIBRE
    peer_port_no: int = 0
    peer_datapath_id: int = 0
    bandwidth: tuple[int, ...] = (1,)

    def encode(self) -> bytes:
        return _CPORT.pack(
            self.port_no,
            self.hw_addr,
            self.name.encode("ascii", "replace")[:16],
            self.config,
            self.state,
            self.curr,
            self.advertised,
            self.supported,
            self.peer,
            self.supp_sw_tdm_gran,
            self.supp_swtype,
            self.peer_port_no,
            self.peer_datapath_id,
            len(self.bandwidth),
        ) + struct.pack(f"!{len(self.bandwidth)}Q", *self.bandwidth)

    @classmethod
    def decode(cls, data: bytes) -> CircuitPort:
        """Read one port; all bytes behind the fixed 72 are bandwidth words."""
        port_no, hw_addr, name, *numbers = _CPORT.unpack_from(data)
        words = (len(data) - _CPORT.size) // 8
        bandwidth = struct.unpack_from(f"!{words}Q", data, _CPORT.size)
        text = name.split(b"\0", 1)[0].decode("ascii", "replace")
        fields: tuple[int, ...] = tuple(numbers[:-1])
        config, state, curr, advertised, supported, peer, gran, kind, peer_port, peer_dpid = fields
        return cls(
            port_no=port_no,
            name=text,
            hw_addr=hw_addr,
            config=config,
            state=state,
            curr=curr,
            advertised=advertised,
            supported=supported,
            peer=peer,
            supp_sw_tdm_gran=gran,
            supp_swtype=kind,
            peer_port_no=peer_port,
            peer_datapath_id=peer_dpid,
            bandwidth=bandwidth,
        )


@dataclass(frozen=True)
class FeaturesReply(Message):
    TYPE = 6

    datapath_id: int
    cports: tuple[CircuitPort, ...] = ()
    n_buffers: int = 0
    n_tables: int = 1
    capabilities: int = 0
    actions: int = 0
    packet_ports: bytes = b""
    """The packet ports as they stand, 48 bytes each; a fibre switch has none."""

    def body(self) -> bytes:
        # n_cports is one byte; a receiver counts by the length when it overflows.
        head = _FEATURES.pack(
            self.datapath_id,
            self.n_buffers,
            self.n_tables,
            min(len(self.cports), 255),
            self.capabilities,
            self.actions,
        )
        return head + self.packet_ports + b"".join(p.encode() for p in self.cports)


@dataclass(frozen=True)
class BarrierRequest(Message):
    TYPE = 18


@dataclass(frozen=True)
class BarrierReply(Message):
    TYPE = 19


class Command(IntEnum):
    """What a CFLOW_MOD asks for."""

    ADD = 0
    MODIFY = 1
    MODIFY_STRICT = 2
    DELETE = 3
    DELETE_STRICT = 4
    DROP = 0xFFFF


@dataclass(frozen=True)
class TdmPort:
    tport: int
    tstart: int
    tsignal: int


@dataclass(frozen=True)
class WavePort:
    wport: int
    wavelength: int


@dataclass(frozen=True)
class Components:
    """The arrays of `ofp_connect`; an empty one is wildcarded. All others have one length."""

    in_ports: tuple[int, ...] = ()
    out_ports: tuple[int, ...] = ()
    in_tdm: tuple[TdmPort, ...] = ()
    out_tdm: tuple[TdmPort, ...] = ()
    in_wave: tuple[WavePort, ...] = ()
    out_wave: tuple[WavePort, ...] = ()

    def __post_init__(self) -> None:
        if len({len(a) for a in self._arrays() if a}) != 1:
            raise ValueError("the arrays of one CFLOW_MOD have one common length, at least 1")

    def _arrays(self) -> tuple[tuple[object, ...], ...]:
        return (
            self.in_ports,
            self.out_ports,
            self.in_tdm,
            self.out_tdm,
            self.in_wave,
            self.out_wave,
        )

    @classmethod
    def fibre(cls, *pairs: tuple[int, int]) -> Components:
        """Cross-connects of whole fibres, given as (in_port, out_port)."""
        return cls(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))

    @property
    def wildcards(self) -> int:
        return sum(1 << bit for bit, array in enumerate(self._arrays()) if not array)

    @property
    def count(self) -> int:
        return max(len(array) for array in self._arrays())

    @property
    def fibre_pairs(self) -> tuple[tuple[int, int], ...] | None:
        """The (in_port, out_port) pairs, or None when TDM or wavelengths are involved."""
        if self.wildcards != 0x3C:
            return None
        return tuple(zip(self.in_ports, self.out_ports, strict=True))


@dataclass(frozen=True)
class CFlowMod(Message):
    TYPE = 0xFF

    command: int
    components: Components
    hard_timeout_s: int = 0
    actions: tuple[bytes, ...] = ()
    """The actions as they stand, each with its header."""

    def body(self) -> bytes:
        c = self.components
        parts = [_CFLOW.pack(self.command, self.hard_timeout_s, c.wildcards, c.count)]
        parts += [struct.pack("!H", port) for port in (*c.in_ports, *c.out_ports)]
        parts += [_TDM.pack(t.tport, t.tstart, t.tsignal) for t in (*c.in_tdm, *c.out_tdm)]
        parts += [_WAVE.pack(w.wport, w.wavelength) for w in (*c.in_wave, *c.out_wave)]
        return b"".join(parts) + b"".join(self.actions)


@dataclass(frozen=True)
class CPortStatus(Message):
    TYPE = 0xFE

    reason: int
    port: CircuitPort

    def body(self) -> bytes:
        return _CPORT_STATUS.pack(self.reason) + self.port.encode()


@dataclass(frozen=True)
class FlowStatsRequest(Message):
    """Asks for the table; `in_port` and `out_port` None: everything."""

    TYPE = 16

    in_port: int | None = None
    out_port: int | None = None

    def body(self) -> bytes:
        wildcards = WILDCARD_ALL if self.in_port is None else WILDCARD_ALL & ~WILDCARD_IN_PORT
        out_port = PORT_NONE if self.out_port is None else self.out_port
        return _STATS.pack(STATS_FLOW, 0) + _FLOW_REQUEST.pack(
            wildcards, self.in_port or 0, TABLE_ALL, out_port
        )


@dataclass(frozen=True)
class OtherStatsRequest(Message):
    """A statistics request of a type that is not read here."""

    TYPE = 16

    stats_type: int
    rest: bytes = b""

    def body(self) -> bytes:
        return _STATS.pack(self.stats_type, 0) + self.rest


@dataclass(frozen=True)
class FlowEntry:
    """One joined pair and how long it has been passing light."""

    in_port: int
    out_port: int
    duration_s: int = 0
    duration_ns: int = 0

    def encode(self) -> bytes:
        return _FLOW_ENTRY.pack(
            _FLOW_ENTRY.size + _OUTPUT.size,
            0,
            WILDCARD_ALL & ~WILDCARD_IN_PORT,
            self.in_port,
            self.duration_s,
            self.duration_ns,
            0x8000,
            0,
            0,
            0,
            0,
            0,
        ) + _OUTPUT.pack(0, _OUTPUT.size, self.out_port, 0)


@dataclass(frozen=True)
class FlowStatsReply(Message):
    TYPE = 17

    entries: tuple[FlowEntry, ...] = ()
    more: bool = False

    def body(self) -> bytes:
        flags = STATS_MORE if self.more else 0
        return _STATS.pack(STATS_FLOW, flags) + b"".join(e.encode() for e in self.entries)


@dataclass(frozen=True)
class Unsupported(Message):
    """A message of a type or version that is not spoken here; `frame` is all of it."""

    TYPE = -1

    frame: Frame = field(repr=False)


def encode(message: Message) -> bytes:
    """The bytes of `message`; ValueError when a number does not fit its field."""
    if isinstance(message, Unsupported):
        return message.frame.raw
    try:
        body = message.body()
        length = HEADER.size + len(body)
        if length > MAX_LENGTH:
            raise ValueError(f"a message of {length} bytes is longer than {MAX_LENGTH}")
        return HEADER.pack(VERSION, message.TYPE, length, message.xid) + body
    except struct.error as error:
        raise ValueError(f"a number does not fit its field: {error}") from error


def decode(frame: Frame) -> Message:
    """Read a frame. MalformedMessage when its body does not fit its type."""
    if frame.type == Hello.TYPE:
        return Hello(frame.xid)
    reader = _READERS.get(frame.type)
    if frame.version != VERSION or reader is None:
        return Unsupported(frame.xid, frame)
    return reader(frame)


# --- readers -------------------------------------------------------------------------------------

_M = TypeVar("_M", bound=Message)


def _empty(cls: type[_M]) -> Callable[[Frame], _M]:
    return lambda frame: cls(frame.xid)


def _read_error(frame: Frame) -> ErrorMessage:
    if len(frame.body) < ERROR_LAYOUT.size:
        raise _malformed("ERROR", f"{len(frame.body)} bytes of body, at least 4 are needed")
    kind, code = ERROR_LAYOUT.unpack_from(frame.body)
    return ErrorMessage(frame.xid, kind, code, frame.body[ERROR_LAYOUT.size :])


def _cport_layout(region: int, count: int) -> tuple[int, int]:
    """Bytes of packet ports and stride of circuit ports (section 3, rules 1 to 5)."""
    if count == 0:
        if region % _PACKET_PORT_SIZE:
            raise _malformed("FEATURES_REPLY", f"{region} bytes are no whole number of ports")
        return region, 80
    for stride in (80, 72):
        if region == count * stride:
            return 0, stride
    if count == 255 and region > 255 * 80:
        for stride in (80, 72):
            if region % stride == 0:
                return 0, stride
    for stride in (80, 72):
        rest = region - count * stride
        if rest > 0 and rest % _PACKET_PORT_SIZE == 0:
            return rest, stride
    raise _malformed("FEATURES_REPLY", f"{count} circuit ports do not fit into {region} bytes")


def _read_features_reply(frame: Frame) -> FeaturesReply:
    body = frame.body
    if len(body) < _FEATURES.size:
        raise _malformed("FEATURES_REPLY", f"{len(body)} bytes of body, at least 24 are needed")
    datapath_id, n_buffers, n_tables, n_cports, capabilities, actions = _FEATURES.unpack_from(body)
    region = body[_FEATURES.size :]
    packet_bytes, stride = _cport_layout(len(region), n_cports)
    cports = tuple(
        CircuitPort.decode(region[at : at + stride])
        for at in range(packet_bytes, len(region), stride)
    )
    return FeaturesReply(
        frame.xid,
        datapath_id,
        cports,
        n_buffers,
        n_tables,
        capabilities,
        actions,
        region[:packet_bytes],
    )


def _read_cport_status(frame: Frame) -> CPortStatus:
    port = frame.body[_CPORT_STATUS.size :]
    if len(port) < _CPORT.size or (len(port) - _CPORT.size) % 8:
        raise _malformed("CPORT_STATUS", f"{len(frame.body)} bytes of body")
    return CPortStatus(frame.xid, frame.body[0], CircuitPort.decode(port))


def _read_cflow_mod(frame: Frame) -> CFlowMod:
    body = frame.body
    if len(body) < _CFLOW.size:
        raise _malformed("CFLOW_MOD", f"{len(body)} bytes of body, at least 16 are needed")
    command, hard_timeout_s, wildcards, count = _CFLOW.unpack_from(body)
    present = [bit for bit in range(6) if not wildcards & (1 << bit)]
    if count == 0 or not present:
        raise _malformed("CFLOW_MOD", "it names no port at all")
    sizes = {bit: (2, _TDM.size, _WAVE.size)[bit // 2] * count for bit in present}
    if _CFLOW.size + sum(sizes.values()) > len(body):
        raise _malformed("CFLOW_MOD", f"{count} components do not fit into {len(body)} bytes")
    arrays: dict[int, bytes] = {}
    at = _CFLOW.size
    for bit, size in sizes.items():
        arrays[bit] = body[at : at + size]
        at += size

    def ports(bit: int) -> tuple[int, ...]:
        return struct.unpack(f"!{len(arrays.get(bit, b'')) // 2}H", arrays.get(bit, b""))

    def tdm(bit: int) -> tuple[TdmPort, ...]:
        return tuple(TdmPort(*t) for t in _TDM.iter_unpack(arrays.get(bit, b"")))

    def wave(bit: int) -> tuple[WavePort, ...]:
        return tuple(WavePort(*w) for w in _WAVE.iter_unpack(arrays.get(bit, b"")))

    components = Components(ports(0), ports(1), tdm(2), tdm(3), wave(4), wave(5))
    return CFlowMod(frame.xid, command, components, hard_timeout_s, _actions(body[at:]))


def _actions(data: bytes) -> tuple[bytes, ...]:
    actions: list[bytes] = []
    at = 0
    while at < len(data):
        if len(data) - at < _ACTION_HEADER.size:
            raise _malformed("CFLOW_MOD", "an action is cut off")
        length = _ACTION_HEADER.unpack_from(data, at)[1]
        if length < 8 or length % 8 or length > len(data) - at:
            raise _malformed("CFLOW_MOD", f"an action of {length} bytes")
        actions.append(data[at : at + length])
        at += length
    return tuple(actions)


def _read_stats_request(frame: Frame) -> FlowStatsRequest | OtherStatsRequest:
    if len(frame.body) < _STATS.size:
        raise _malformed("STATS_REQUEST", f"{len(frame.body)} bytes of body")
    stats_type, _ = _STATS.unpack_from(frame.body)
    rest = frame.body[_STATS.size :]
    if stats_type != STATS_FLOW:
        return OtherStatsRequest(frame.xid, stats_type, rest)
    if len(rest) != _FLOW_REQUEST.size:
        raise _malformed("STATS_REQUEST", f"{len(rest)} bytes ask for flows, 44 are needed")
    wildcards, in_port, _, out_port = _FLOW_REQUEST.unpack(rest)
    return FlowStatsRequest(
        frame.xid,
        None if wildcards & WILDCARD_IN_PORT else in_port,
        None if out_port == PORT_NONE else out_port,
    )


def _read_stats_reply(frame: Frame) -> FlowStatsReply:
    if len(frame.body) < _STATS.size:
        raise _malformed("STATS_REPLY", f"{len(frame.body)} bytes of body")
    stats_type, flags = _STATS.unpack_from(frame.body)
    if stats_type != STATS_FLOW:
        raise _malformed("STATS_REPLY", f"type {stats_type} was never asked for")
    data = frame.body
    entries: list[FlowEntry] = []
    at = _STATS.size
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        if length < _FLOW_ENTRY.size or length > len(data) - at:
            raise _malformed("STATS_REPLY", f"an entry of {length} bytes")
        entries.append(_read_flow_entry(data[at : at + length]))
        at += length
    return FlowStatsReply(frame.xid, tuple(entries), bool(flags & STATS_MORE))


def _read_flow_entry(data: bytes) -> FlowEntry:
    _, _, _, in_port, seconds, nanoseconds, *_ = _FLOW_ENTRY.unpack_from(data)
    action = data[_FLOW_ENTRY.size :]
    if len(action) != _OUTPUT.size or _OUTPUT.unpack(action)[:2] != (0, _OUTPUT.size):
        raise _malformed("STATS_REPLY", "an entry that is no cross-connect (one OUTPUT action)")
    return FlowEntry(in_port, _OUTPUT.unpack(action)[2], seconds, nanoseconds)


_READERS: dict[int, Callable[[Frame], Message]] = {
    1: _read_error,
    2: lambda frame: EchoRequest(frame.xid, frame.body),
    3: lambda frame: EchoReply(frame.xid, frame.body),
    5: _empty(FeaturesRequest),
    6: _read_features_reply,
    16: _read_stats_request,
    17: _read_stats_reply,
    18: _empty(BarrierRequest),
    19: _empty(BarrierReply),
    22: _read_cflow_mod,
    23: _read_cport_status,
    0xFE: _read_cport_status,
    0xFF: _read_cflow_mod,
}
