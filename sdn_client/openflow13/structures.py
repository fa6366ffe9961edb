"""What several messages of OPENFLOW13.md have in common: match, actions, instructions, port."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sdn_client.errors import MalformedMessage
from sdn_client.openflow13 import constants as c

_MATCH = struct.Struct("!HH")
_OXM = struct.Struct("!HBB")
_TYPE_LENGTH = struct.Struct("!HH")
_OUTPUT = struct.Struct("!HHIH6x")
_PORT = struct.Struct("!I4x6s2x16sIIIIIIII")


def malformed(what: str, why: str) -> MalformedMessage:
    """The error for bytes that do not fit their type."""
    return MalformedMessage(
        f"A malformed {what}: {why}.", next_step="The peer's software is at fault; see its log."
    )


def padding(length: int) -> int:
    """How many bytes are missing to a multiple of 8."""
    return -length % 8


@dataclass(frozen=True)
class OxmField:
    """One field of a match as it stands; with `has_mask`, `payload` is value and mask."""

    oxm_class: int
    field: int
    payload: bytes
    has_mask: bool = False

    def encode(self) -> bytes:
        head = _OXM.pack(self.oxm_class, self.field << 1 | self.has_mask, len(self.payload))
        return head + self.payload

    @property
    def is_in_port(self) -> bool:
        return (self.oxm_class, self.field) == (c.OXM_BASIC, c.OXM_IN_PORT)


@dataclass(frozen=True)
class Match:
    """An OXM match; without fields it matches everything."""

    fields: tuple[OxmField, ...] = ()

    @classmethod
    def in_port(cls, port: int) -> Match:
        return cls((OxmField(c.OXM_BASIC, c.OXM_IN_PORT, struct.pack("!I", port)),))

    def encode(self) -> bytes:
        fields = b"".join(f.encode() for f in self.fields)
        length = _MATCH.size + len(fields)
        return _MATCH.pack(c.MATCH_OXM, length) + fields + bytes(padding(length))


EVERYTHING = Match()


def read_match(data: bytes, what: str) -> tuple[Match, int]:
    """The match at the start of `data` and the bytes it takes, padding included."""
    if len(data) < _MATCH.size:
        raise malformed(what, "its match is cut off")
    kind, length = _MATCH.unpack_from(data)
    taken = length + padding(length)
    if kind != c.MATCH_OXM or length < _MATCH.size or taken > len(data):
        raise malformed(what, f"a match of type {kind} and {length} bytes in {len(data)}")
    fields, at = [], _MATCH.size
    while at < length:
        if length - at < _OXM.size:
            raise malformed(what, "half a match field")
        oxm_class, field, size = _OXM.unpack_from(data, at)
        at += _OXM.size
        if size > length - at:
            raise malformed(what, "a match field is longer than its match")
        one = OxmField(oxm_class, field >> 1, data[at : at + size], bool(field & 1))
        if one.is_in_port and size != (8 if one.has_mask else 4):
            raise malformed(what, f"an in_port of {size} bytes")
        fields.append(one)
        at += size
    return Match(tuple(fields)), taken


@dataclass(frozen=True)
class Action:
    """An action of a type that is not read here; `rest` are the bytes behind its header."""

    type: int
    rest: bytes

    def encode(self) -> bytes:
        return _TYPE_LENGTH.pack(self.type, _TYPE_LENGTH.size + len(self.rest)) + self.rest


@dataclass(frozen=True)
class Output:
    port: int
    max_len: int = 0

    def encode(self) -> bytes:
        return _OUTPUT.pack(c.ACTION_OUTPUT, _OUTPUT.size, self.port, self.max_len)


@dataclass(frozen=True)
class Instruction:
    """An instruction of a type that is not read here; `rest` are the bytes behind its header."""

    type: int
    rest: bytes

    def encode(self) -> bytes:
        return _TYPE_LENGTH.pack(self.type, _TYPE_LENGTH.size + len(self.rest)) + self.rest


@dataclass(frozen=True)
class ApplyActions:
    actions: tuple[Output | Action, ...]

    def encode(self) -> bytes:
        actions = b"".join(a.encode() for a in self.actions)
        head = _TYPE_LENGTH.pack(c.INSTRUCTION_APPLY_ACTIONS, _TYPE_LENGTH.size + 4 + len(actions))
        return head + bytes(4) + actions


def _elements(data: bytes, what: str) -> list[tuple[int, bytes]]:
    """Cut a list of (type, length, rest) into types and rests."""
    found, at = [], 0
    while at < len(data):
        if len(data) - at < _TYPE_LENGTH.size:
            raise malformed(what, "half a header in its list")
        kind, length = _TYPE_LENGTH.unpack_from(data, at)
        if length < 8 or length % 8 or length > len(data) - at:
            raise malformed(what, f"an element of {length} bytes in its list")
        found.append((kind, data[at + _TYPE_LENGTH.size : at + length]))
        at += length
    return found


def read_instructions(data: bytes, what: str) -> tuple[ApplyActions | Instruction, ...]:
    """All of `data` as instructions."""
    return tuple(
        ApplyActions(_read_actions(rest[4:], what))
        if kind == c.INSTRUCTION_APPLY_ACTIONS
        else Instruction(kind, rest)
        for kind, rest in _elements(data, what)
    )


def _read_actions(data: bytes, what: str) -> tuple[Output | Action, ...]:
    actions: list[Output | Action] = []
    for kind, rest in _elements(data, what):
        if kind != c.ACTION_OUTPUT:
            actions.append(Action(kind, rest))
        elif len(rest) != _OUTPUT.size - _TYPE_LENGTH.size:
            raise malformed(what, f"an output action of {len(rest) + 4} bytes")
        else:
            actions.append(Output(*struct.unpack_from("!IH", rest)))
    return tuple(actions)


@dataclass(frozen=True)
class Port:
    """One port of the switch; `name` has at most 15 ASCII letters."""

    SIZE = _PORT.size

    port_no: int
    name: str = ""
    hw_addr: bytes = bytes(6)
    config: int = 0
    state: int = 0
    curr: int = 0
    advertised: int = 0
    supported: int = 0
    peer: int = 0
    curr_speed_kbps: int = 0
    max_speed_kbps: int = 0

    def encode(self) -> bytes:
        return _PORT.pack(
            self.port_no,
            self.hw_addr,
            self.name.encode("ascii", "replace")[:15],
            self.config,
            self.state,
            self.curr,
            self.advertised,
            self.supported,
            self.peer,
            self.curr_speed_kbps,
            self.max_speed_kbps,
        )

    @classmethod
    def decode(cls, data: bytes) -> Port:
        """Read the 64 bytes of `data`."""
        port_no, hw_addr, name, *numbers = _PORT.unpack(data)
        text = name.split(b"\0", 1)[0][:15].decode("ascii", "replace")
        return cls(port_no, text, hw_addr, *numbers)
