"""What a FLOW_MOD means for a fibre switch (OPENFLOW13.md section 5). No sockets, no device."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sdn_client.openflow13 import constants as c
from sdn_client.openflow13.constants import (
    BadAction,
    BadInstruction,
    BadMatch,
    BadRequest,
    ErrorType,
    FlowCommand,
    FlowModFailed,
)
from sdn_client.openflow13.messages import FlowMod
from sdn_client.openflow13.multipart import FlowRequest
from sdn_client.openflow13.structures import Action, ApplyActions, Match, Output
from sdn_client.optical_agent.refusal import Refusal

_PORT = struct.Struct("!I")


@dataclass(frozen=True)
class Join:
    """Join `in_port` and `out_port`; the rest is kept to be told again."""

    in_port: int
    out_port: int
    priority: int
    cookie: int
    flags: int


@dataclass(frozen=True)
class Selection:
    """Which cross-connects are meant; `in_port` and `out_port` None: whatever they are.

    Light passes both ways, so `in_port` is either end of a cross-connect, and `out_port` the other.
    """

    in_port: int | None
    out_port: int | None
    cookie: int = 0
    cookie_mask: int = 0
    nothing: bool = False
    """No flow of a fibre switch fits, whatever the table."""

    def fits(self, a: int, b: int, cookie: int) -> bool:
        """Whether the cross-connect {a, b} with this cookie is meant."""
        if self.nothing or (cookie ^ self.cookie) & self.cookie_mask:
            return False
        if self.in_port is None:
            return self.out_port in (None, a, b)
        if self.in_port not in (a, b):
            return False
        return self.out_port in (None, b if self.in_port == a else a)


@dataclass(frozen=True)
class Part:
    """Part the cross-connects that are selected."""

    selection: Selection


def read_flow_mod(mod: FlowMod) -> Join | Part:
    """What `mod` asks for. Raises Refusal for what a fibre cannot do."""
    match mod.command:
        case FlowCommand.ADD:
            return _join(mod)
        case FlowCommand.DELETE | FlowCommand.DELETE_STRICT:
            return _part(mod)
    raise Refusal(
        ErrorType.FLOW_MOD_FAILED,
        FlowModFailed.BAD_COMMAND,
        f"command {mod.command}: a fibre switch knows ADD, DELETE and DELETE_STRICT",
    )


def select(request: FlowRequest) -> Selection:
    """Which cross-connects a request for flow statistics means."""
    try:
        in_port = _in_port(request.match)
        matchable = True
    except Refusal:
        in_port, matchable = None, False  # no flow here has such a match
    inside = request.table_id in (0, c.TABLE_ALL) and request.out_group == c.GROUP_ANY
    return Selection(
        in_port,
        None if request.out_port == c.PORT_ANY else request.out_port,
        request.cookie,
        request.cookie_mask,
        nothing=not (matchable and inside),
    )


def _join(mod: FlowMod) -> Join:
    failed = ErrorType.FLOW_MOD_FAILED
    if mod.table_id != 0:
        raise Refusal(failed, FlowModFailed.BAD_TABLE_ID, f"there is no table {mod.table_id}")
    if mod.idle_timeout_s or mod.hard_timeout_s:
        raise Refusal(failed, FlowModFailed.BAD_TIMEOUT, "mirrors know no timeouts")
    if mod.flags & ~c.FLAGS_KNOWN:
        raise Refusal(failed, FlowModFailed.BAD_FLAGS, f"unknown flags {mod.flags:#06x}")
    if mod.buffer_id != c.NO_BUFFER:
        raise Refusal(ErrorType.BAD_REQUEST, BadRequest.BUFFER_UNKNOWN, "there are no buffers")
    in_port = _in_port(mod.match)
    if in_port is None:
        raise Refusal(
            ErrorType.BAD_MATCH, BadMatch.BAD_WILDCARDS, "a fibre flow needs an exact in_port"
        )
    return Join(in_port, _output(mod), mod.priority, mod.cookie, mod.flags)


def _part(mod: FlowMod) -> Part:
    if mod.table_id not in (0, c.TABLE_ALL):
        raise Refusal(
            ErrorType.FLOW_MOD_FAILED,
            FlowModFailed.BAD_TABLE_ID,
            f"there is no table {mod.table_id}",
        )
    in_port = _in_port(mod.match)
    strict_everything = mod.command == FlowCommand.DELETE_STRICT and in_port is None
    return Part(
        Selection(
            in_port,
            None if mod.out_port == c.PORT_ANY else mod.out_port,
            mod.cookie,
            mod.cookie_mask,
            # No flow here matches everything, so a strict match of everything means none.
            nothing=strict_everything or mod.out_group != c.GROUP_ANY,
        )
    )


def _in_port(match: Match) -> int | None:
    """The port that `match` names; None when it matches every port."""
    for field in match.fields:
        if not field.is_in_port:
            raise Refusal(
                ErrorType.BAD_MATCH,
                BadMatch.BAD_FIELD,
                f"a fibre matches nothing but in_port, not field {field.field} of class"
                f" {field.oxm_class:#06x}",
            )
        if field.has_mask:
            raise Refusal(ErrorType.BAD_MATCH, BadMatch.BAD_MASK, "in_port takes no mask")
    if not match.fields:
        return None
    if len(match.fields) > 1:
        raise Refusal(ErrorType.BAD_MATCH, BadMatch.DUPLICATE_FIELD, "in_port is there twice")
    port: int = _PORT.unpack(match.fields[0].payload)[0]
    if not 0 < port <= c.PORT_MAX:
        raise Refusal(ErrorType.BAD_MATCH, BadMatch.BAD_VALUE, f"{port:#x} is no in_port of fibre")
    return port


def _output(mod: FlowMod) -> int:
    if len(mod.instructions) != 1 or not isinstance(mod.instructions[0], ApplyActions):
        raise Refusal(
            ErrorType.BAD_INSTRUCTION,
            BadInstruction.UNSUPPORTED,
            "a fibre flow has one instruction, apply-actions",
        )
    ports = [_port_of(action) for action in mod.instructions[0].actions]
    if len(ports) != 1:
        code = BadAction.TOO_MANY if ports else BadAction.BAD_ARGUMENT
        raise Refusal(ErrorType.BAD_ACTION, code, f"a fibre flow has one output, not {len(ports)}")
    return ports[0]


def _port_of(action: Output | Action) -> int:
    if not isinstance(action, Output):
        raise Refusal(
            ErrorType.BAD_ACTION,
            BadAction.BAD_TYPE,
            f"a fibre has no action but output, not type {action.type}",
        )
    if not 0 < action.port <= c.PORT_MAX:
        raise Refusal(
            ErrorType.BAD_ACTION,
            BadAction.BAD_OUT_PORT,
            f"light cannot leave by the reserved port {action.port:#x}",
        )
    return action.port
