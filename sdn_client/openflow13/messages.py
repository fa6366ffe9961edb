"""The messages of OPENFLOW13.md: one frozen class each, and `encode`."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from sdn_client.openflow13 import constants as c
from sdn_client.openflow13.multipart import Body
from sdn_client.openflow13.structures import (
    EVERYTHING,
    ApplyActions,
    Instruction,
    Match,
    Port,
    padding,
)
from sdn_client.openflow_framing import HEADER, MAX_LENGTH, Frame
from sdn_client.openflow_messages import (
    EchoReply,
    EchoRequest,
    ErrorMessage,
    FeaturesRequest,
    Message,
)

# These are messages of this version too.
__all__ = ["EchoReply", "EchoRequest", "ErrorMessage", "FeaturesRequest", "Message"]

TYPE_LENGTH_LAYOUT = struct.Struct("!HH")
FEATURES_LAYOUT = struct.Struct("!QIBB2xII")
CONFIG_LAYOUT = struct.Struct("!HH")
FLOW_MOD_LAYOUT = struct.Struct("!QQBBHHHIIIH2x")
FLOW_REMOVED_LAYOUT = struct.Struct("!QHBBIIHHQQ")
PORT_STATUS_LAYOUT = struct.Struct("!B7x")
MULTIPART_LAYOUT = struct.Struct("!HH4x")
ROLE_LAYOUT = struct.Struct("!I4xQ")
ASYNC_LAYOUT = struct.Struct("!6I")


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
        length = TYPE_LENGTH_LAYOUT.size + 4 * len(words)
        bitmap = TYPE_LENGTH_LAYOUT.pack(c.HELLO_VERSION_BITMAP, length)
        return bitmap + struct.pack(f"!{len(words)}I", *words) + bytes(padding(length))

    @property
    def speaks_1_3(self) -> bool:
        """Whether both sides can agree on version 0x04."""
        if self.versions is not None:
            return c.VERSION in self.versions
        return self.header_version >= c.VERSION


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
        return FEATURES_LAYOUT.pack(
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
        return CONFIG_LAYOUT.pack(self.flags, self.miss_send_len)


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
        head = FLOW_REMOVED_LAYOUT.pack(
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
        return PORT_STATUS_LAYOUT.pack(self.reason) + self.port.encode()


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
        head = FLOW_MOD_LAYOUT.pack(
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
        return MULTIPART_LAYOUT.pack(self.content.KIND, self.flags) + self.content.encode()


@dataclass(frozen=True)
class MultipartReply(Message):
    """One part of an answer; all but the last have `flags` MULTIPART_MORE."""

    TYPE = 19

    content: Body
    flags: int = 0

    def body(self) -> bytes:
        return MULTIPART_LAYOUT.pack(self.content.KIND, self.flags) + self.content.encode()


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
        return ROLE_LAYOUT.pack(self.role, self.generation_id)


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
        return ASYNC_LAYOUT.pack(*self.packet_in, *self.port_status, *self.flow_removed)


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
