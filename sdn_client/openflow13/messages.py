"""The messages of OPENFLOW13.md: one frozen class each, `encode` and `decode`."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from sdn_client.openflow13 import constants as c
from sdn_client.openflow13.multipart import Body, read_reply, read_request
from sdn_client.openflow13.structures import (
    EVERYTHING,
    ApplyActions,
    Instruction,
    Match,
    Port,
    malformed,
    padding,
    read_instructions,
    read_match,
)
from sdn_client.openflow_framing import HEADER, MAX_LENGTH, Frame

_TYPE_LENGTH = struct.Struct("!HH")
_FEATURES = struct.Struct("!QIBB2xII")
_CONFIG = struct.Struct("!HH")
_FLOW_MOD = struct.Struct("!QQBBHHHIIIH2x")
_FLOW_REMOVED = struct.Struct("!QHBBIIHHQQ")
_PORT_STATUS = struct.Struct("!B7x")
_MULTIPART = struct.Struct("!HH4x")
_ROLE = struct.Struct("!I4xQ")
_ASYNC = struct.Struct("!6I")


@dataclass(frozen=True)
class Message:
    """Any message; `xid` joins a request and its answers."""

    TYPE: ClassVar[int]

    xid: int

    def body(self) -> bytes:
        """The bytes behind the header."""
        return b""


@dataclass(frozen=True)
class Hello(Message):
    """`header_version` is the version of its header; `versions` those of its bitmap, if any."""

    TYPE = 0

    versions: frozenset[int] | None = frozenset({c.VERSION})
    header_version: int = c.VERSION

    def body(self) -> bytes:
        if self.versions is None:
            return b""
        words = [0] * (max(self.versions, default=0) // 32 + 1)
        for version in self.versions:
            words[version // 32] |= 1 << version % 32
        length = _TYPE_LENGTH.size + 4 * len(words)
        bitmap = _TYPE_LENGTH.pack(c.HELLO_VERSION_BITMAP, length)
        return bitmap + struct.pack(f"!{len(words)}I", *words) + bytes(padding(length))

    @property
    def speaks_1_3(self) -> bool:
        """Whether both sides can agree on version 0x04."""
        if self.versions is not None:
            return c.VERSION in self.versions
        return self.header_version >= c.VERSION


@dataclass(frozen=True)
class ErrorMessage(Message):
    TYPE = 1

    type: int
    code: int
    data: bytes = b""

    def body(self) -> bytes:
        return _TYPE_LENGTH.pack(self.type, self.code) + self.data


@dataclass(frozen=True)
class EchoRequest(Message):
    TYPE = 2

    data: bytes = b""

    def body(self) -> bytes:
        return self.data


@dataclass(frozen=True)
class EchoReply(Message):
    TYPE = 3

    data: bytes = b""

    def body(self) -> bytes:
        return self.data


@dataclass(frozen=True)
class FeaturesRequest(Message):
    TYPE = 5


@dataclass(frozen=True)
class FeaturesReply(Message):
    TYPE = 6

    datapath_id: int
    n_buffers: int = 0
    n_tables: int = 1
    auxiliary_id: int = 0
    capabilities: int = 0
    reserved: int = 0

    def body(self) -> bytes:
        return _FEATURES.pack(
            self.datapath_id,
            self.n_buffers,
            self.n_tables,
            self.auxiliary_id,
            self.capabilities,
            self.reserved,
        )


@dataclass(frozen=True)
class GetConfigRequest(Message):
    TYPE = 7


@dataclass(frozen=True)
class GetConfigReply(Message):
    TYPE = 8

    flags: int = 0
    miss_send_len: int = 0

    def body(self) -> bytes:
        return _CONFIG.pack(self.flags, self.miss_send_len)


@dataclass(frozen=True)
class SetConfig(GetConfigReply):
    TYPE = 9


@dataclass(frozen=True)
class FlowRemoved(Message):
    TYPE = 11

    match: Match
    priority: int
    cookie: int = 0
    reason: int = c.REASON_FLOW_DELETE
    table_id: int = 0
    duration_s: int = 0
    duration_ns: int = 0
    idle_timeout_s: int = 0
    hard_timeout_s: int = 0
    packet_count: int = c.NO_COUNTER
    byte_count: int = c.NO_COUNTER

    def body(self) -> bytes:
        head = _FLOW_REMOVED.pack(
            self.cookie,
            self.priority,
            self.reason,
            self.table_id,
            self.duration_s,
            self.duration_ns,
            self.idle_timeout_s,
            self.hard_timeout_s,
            self.packet_count,
            self.byte_count,
        )
        return head + self.match.encode()


@dataclass(frozen=True)
class PortStatus(Message):
    TYPE = 12

    reason: int
    port: Port

    def body(self) -> bytes:
        return _PORT_STATUS.pack(self.reason) + self.port.encode()


@dataclass(frozen=True)
class FlowMod(Message):
    """A change of the flow table; `command` may be one that does not exist."""

    TYPE = 14

    command: int
    match: Match = EVERYTHING
    instructions: tuple[ApplyActions | Instruction, ...] = ()
    priority: int = 0x8000
    cookie: int = 0
    cookie_mask: int = 0
    table_id: int = 0
    idle_timeout_s: int = 0
    hard_timeout_s: int = 0
    buffer_id: int = c.NO_BUFFER
    out_port: int = c.PORT_ANY
    out_group: int = c.GROUP_ANY
    flags: int = 0

    def body(self) -> bytes:
        head = _FLOW_MOD.pack(
            self.cookie,
            self.cookie_mask,
            self.table_id,
            self.command,
            self.idle_timeout_s,
            self.hard_timeout_s,
            self.priority,
            self.buffer_id,
            self.out_port,
            self.out_group,
            self.flags,
        )
        return head + self.match.encode() + b"".join(i.encode() for i in self.instructions)


@dataclass(frozen=True)
class MultipartRequest(Message):
    TYPE = 18

    content: Body
    flags: int = 0

    def body(self) -> bytes:
        return _MULTIPART.pack(self.content.KIND, self.flags) + self.content.encode()


@dataclass(frozen=True)
class MultipartReply(Message):
    """One part of an answer; all but the last have `flags` MULTIPART_MORE."""

    TYPE = 19

    content: Body
    flags: int = 0

    def body(self) -> bytes:
        return _MULTIPART.pack(self.content.KIND, self.flags) + self.content.encode()


@dataclass(frozen=True)
class BarrierRequest(Message):
    TYPE = 20


@dataclass(frozen=True)
class BarrierReply(Message):
    TYPE = 21


@dataclass(frozen=True)
class RoleRequest(Message):
    TYPE = 24

    role: int
    generation_id: int

    def body(self) -> bytes:
        return _ROLE.pack(self.role, self.generation_id)


@dataclass(frozen=True)
class RoleReply(RoleRequest):
    TYPE = 25


@dataclass(frozen=True)
class GetAsyncRequest(Message):
    TYPE = 26


@dataclass(frozen=True)
class GetAsyncReply(Message):
    """Which asynchronous messages are sent: for each kind a mask for master (or equal) and one for
    slave; bit n stands for reason n."""

    TYPE = 27

    packet_in: tuple[int, int] = (0, 0)
    port_status: tuple[int, int] = (7, 7)
    flow_removed: tuple[int, int] = (1 << c.REASON_FLOW_DELETE, 0)

    def body(self) -> bytes:
        return _ASYNC.pack(*self.packet_in, *self.port_status, *self.flow_removed)


@dataclass(frozen=True)
class SetAsync(GetAsyncReply):
    TYPE = 28


@dataclass(frozen=True)
class Unsupported(Message):
    """A message of a type or version that is not spoken here; `frame` is all of it."""

    TYPE = -1

    frame: Frame = field(repr=False)


def encode(message: Message) -> bytes:
    """The bytes of `message`; ValueError when a number does not fit its field."""
    if isinstance(message, Unsupported):
        return message.frame.raw
    version = message.header_version if isinstance(message, Hello) else c.VERSION
    try:
        body = message.body()
        length = HEADER.size + len(body)
        if length > MAX_LENGTH:
            raise ValueError(f"a message of {length} bytes is longer than {MAX_LENGTH}")
        return HEADER.pack(version, message.TYPE, length, message.xid) + body
    except struct.error as error:
        raise ValueError(f"a number does not fit its field: {error}") from error


def decode(frame: Frame) -> Message:
    """Read a frame. MalformedMessage when its body does not fit its type."""
    if frame.type == Hello.TYPE:
        return _read_hello(frame)
    reader = _READERS.get(frame.type)
    if frame.version != c.VERSION or reader is None:
        return Unsupported(frame.xid, frame)
    return reader(frame)


# --- readers -------------------------------------------------------------------------------------

_M = TypeVar("_M", bound=Message)


def _empty(cls: type[_M]) -> Callable[[Frame], _M]:
    def read(frame: Frame) -> _M:
        if frame.body:
            raise malformed(cls.__name__, f"{len(frame.body)} bytes of body instead of none")
        return cls(frame.xid)

    return read


def _head(what: str, layout: struct.Struct, body: bytes, *, whole: bool) -> tuple[int, ...]:
    if len(body) < layout.size or (whole and len(body) != layout.size):
        least = "" if whole else "at least "
        raise malformed(what, f"{len(body)} bytes of body, {least}{layout.size} are needed")
    return layout.unpack_from(body)


def _read_hello(frame: Frame) -> Hello:
    """Elements other than the bitmap, and bytes behind the last whole one, are ignored."""
    at, body = 0, frame.body
    while len(body) - at >= _TYPE_LENGTH.size:
        kind, length = _TYPE_LENGTH.unpack_from(body, at)
        if not _TYPE_LENGTH.size <= length <= len(body) - at:
            raise malformed("HELLO", f"an element of {length} bytes in {len(body) - at}")
        if kind == c.HELLO_VERSION_BITMAP:
            words = struct.iter_unpack("!I", body[at + 4 : at + length - length % 4])
            versions = {
                32 * n + bit
                for n, (word,) in enumerate(words)
                for bit in range(32)
                if word >> bit & 1
            }
            return Hello(frame.xid, frozenset(versions), frame.version)
        at += length + padding(length)
    return Hello(frame.xid, None, frame.version)


def _read_error(frame: Frame) -> ErrorMessage:
    kind, code = _head("ERROR", _TYPE_LENGTH, frame.body, whole=False)
    return ErrorMessage(frame.xid, kind, code, frame.body[_TYPE_LENGTH.size :])


def _read_features_reply(frame: Frame) -> FeaturesReply:
    return FeaturesReply(frame.xid, *_head("FEATURES_REPLY", _FEATURES, frame.body, whole=True))


def _read_get_config_reply(frame: Frame) -> GetConfigReply:
    return GetConfigReply(frame.xid, *_head("GET_CONFIG_REPLY", _CONFIG, frame.body, whole=True))


def _read_set_config(frame: Frame) -> SetConfig:
    return SetConfig(frame.xid, *_head("SET_CONFIG", _CONFIG, frame.body, whole=True))


def _read_flow_removed(frame: Frame) -> FlowRemoved:
    head = _head("FLOW_REMOVED", _FLOW_REMOVED, frame.body, whole=False)
    match, taken = read_match(frame.body[_FLOW_REMOVED.size :], "FLOW_REMOVED")
    if _FLOW_REMOVED.size + taken != len(frame.body):
        raise malformed("FLOW_REMOVED", "bytes behind its match")
    cookie, priority, *rest = head
    return FlowRemoved(frame.xid, match, priority, cookie, *rest)


def _read_port_status(frame: Frame) -> PortStatus:
    if len(frame.body) != _PORT_STATUS.size + Port.SIZE:
        raise malformed("PORT_STATUS", f"{len(frame.body)} bytes of body instead of 72")
    return PortStatus(frame.xid, frame.body[0], Port.decode(frame.body[_PORT_STATUS.size :]))


def _read_flow_mod(frame: Frame) -> FlowMod:
    head = _head("FLOW_MOD", _FLOW_MOD, frame.body, whole=False)
    match, taken = read_match(frame.body[_FLOW_MOD.size :], "FLOW_MOD")
    instructions = read_instructions(frame.body[_FLOW_MOD.size + taken :], "FLOW_MOD")
    cookie, mask, table_id, command, idle, hard, priority, buffer_id, port, group, flags = head
    return FlowMod(
        frame.xid,
        command,
        match,
        instructions,
        priority,
        cookie,
        mask,
        table_id,
        idle,
        hard,
        buffer_id,
        port,
        group,
        flags,
    )


def _read_multipart_request(frame: Frame) -> MultipartRequest:
    kind, flags = _head("MULTIPART_REQUEST", _MULTIPART, frame.body, whole=False)
    return MultipartRequest(frame.xid, read_request(kind, frame.body[_MULTIPART.size :]), flags)


def _read_multipart_reply(frame: Frame) -> MultipartReply:
    kind, flags = _head("MULTIPART_REPLY", _MULTIPART, frame.body, whole=False)
    return MultipartReply(frame.xid, read_reply(kind, frame.body[_MULTIPART.size :]), flags)


def _read_role_request(frame: Frame) -> RoleRequest:
    return RoleRequest(frame.xid, *_head("ROLE_REQUEST", _ROLE, frame.body, whole=True))


def _read_role_reply(frame: Frame) -> RoleReply:
    return RoleReply(frame.xid, *_head("ROLE_REPLY", _ROLE, frame.body, whole=True))


def _read_async(cls: type[GetAsyncReply]) -> Callable[[Frame], GetAsyncReply]:
    def read(frame: Frame) -> GetAsyncReply:
        masks = _head(cls.__name__, _ASYNC, frame.body, whole=True)
        return cls(frame.xid, (masks[0], masks[1]), (masks[2], masks[3]), (masks[4], masks[5]))

    return read


_READERS: dict[int, Callable[[Frame], Message]] = {
    ErrorMessage.TYPE: _read_error,
    EchoRequest.TYPE: lambda frame: EchoRequest(frame.xid, frame.body),
    EchoReply.TYPE: lambda frame: EchoReply(frame.xid, frame.body),
    FeaturesRequest.TYPE: _empty(FeaturesRequest),
    FeaturesReply.TYPE: _read_features_reply,
    GetConfigRequest.TYPE: _empty(GetConfigRequest),
    GetConfigReply.TYPE: _read_get_config_reply,
    SetConfig.TYPE: _read_set_config,
    FlowRemoved.TYPE: _read_flow_removed,
    PortStatus.TYPE: _read_port_status,
    FlowMod.TYPE: _read_flow_mod,
    MultipartRequest.TYPE: _read_multipart_request,
    MultipartReply.TYPE: _read_multipart_reply,
    BarrierRequest.TYPE: _empty(BarrierRequest),
    BarrierReply.TYPE: _empty(BarrierReply),
    RoleRequest.TYPE: _read_role_request,
    RoleReply.TYPE: _read_role_reply,
    GetAsyncRequest.TYPE: _empty(GetAsyncRequest),
    GetAsyncReply.TYPE: _read_async(GetAsyncReply),
    SetAsync.TYPE: _read_async(SetAsync),
}
