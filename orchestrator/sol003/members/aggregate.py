"""What an occurrence is by the operations of its members, and what it does to them.

One that adds members and removes others does so one after the other: while it adds it is as one
that adds alone, but not COMPLETED, and once its removals began as one that removes alone.

Pure: the database is in `settling`, the doing in `conductor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.vnf_lcm.states import ADMISSIBLE, UNDER_WAY, OperationState


class Course(StrEnum):
    """What was decided of an occurrence. There is no way back to FORWARD."""

    FORWARD = "FORWARD"
    BACK = "BACK"
    GIVEN_UP = "GIVEN_UP"


COURSE_MEANING: dict[Course, str] = {
    Course.FORWARD: "it shall complete",
    Course.BACK: "a member did not come up, or somebody asked for it: nothing shall be left",
    Course.GIVEN_UP: "what is held is given up as it is",
}


class Reaction(StrEnum):
    """What has to be done with one member so that the occurrence comes to its end."""

    CANCEL = "cancel"
    RETRY = "retry"
    ROLLBACK = "rollback"
    FAIL = "fail"
    REMOVE = "remove"


@dataclass(frozen=True)
class Part:
    """One member's operation, as its occurrence sees it."""

    state: OperationState
    tries: int = 1
    cancel_requested: bool = False
    is_gone: bool = False
    """Its deployment was removed."""


@dataclass(frozen=True)
class Decided:
    """What people and failures decided of an occurrence."""

    adds: bool
    """It makes members: all or none. Others keep what they did when one of several fails."""
    course: Course = Course.FORWARD
    tries: int = 1
    cancel_requested: bool = False
    then_removes: bool = False
    """It removes others once all that it `adds` are there; when that begins, neither is so any
    more, and what was added stays."""


def course_of(decided: Decided, parts: Sequence[Part]) -> Course:
    """A member that does not come up turns the whole back. So does a cancellation that came too
    late for each of them, where others would be removed now."""
    if not decided.adds or decided.course is not Course.FORWARD:
        return decided.course
    fell = any(
        part.state in (OperationState.ROLLING_BACK, OperationState.ROLLED_BACK) for part in parts
    )
    called_off = decided.then_removes and decided.cancel_requested and _all_completed(parts)
    return Course.BACK if fell or called_off else Course.FORWARD


def removals_are_due(decided: Decided, parts: Sequence[Part]) -> bool:
    """All that it adds is there, and nobody wants it otherwise: its removals begin now."""
    goes_on = decided.course is Course.FORWARD and not decided.cancel_requested
    return decided.then_removes and goes_on and _all_completed(parts)


def state_of(decided: Decided, parts: Sequence[Part]) -> OperationState:
    """The state of the occurrence, whose course is `course_of` these parts already."""
    if decided.adds and decided.course is Course.BACK:
        undone = all(part.is_gone or part.state is OperationState.ROLLED_BACK for part in parts)
        return OperationState.ROLLED_BACK if undone else OperationState.ROLLING_BACK
    if decided.then_removes and _all_completed(parts):
        given_up = decided.course is Course.GIVEN_UP
        return OperationState.FAILED if given_up else OperationState.PROCESSING
    states = {_seen(decided, part) for part in parts}
    if states & {*ADMISSIBLE, OperationState.PROCESSING}:
        waits = states <= set(ADMISSIBLE)
        return OperationState.STARTING if waits else OperationState.PROCESSING
    for state in (OperationState.ROLLING_BACK, OperationState.FAILED_TEMP):
        if state in states:
            return state
    return states.pop() if len(states) == 1 else OperationState.FAILED


def reactions(decided: Decided, parts: Sequence[Part]) -> list[Reaction | None]:
    """What has to be done with each part now; doing it twice does no harm."""
    return [_reaction(decided, part) for part in parts]


def _all_completed(parts: Sequence[Part]) -> bool:
    return all(part.state is OperationState.COMPLETED for part in parts)


def _seen(decided: Decided, part: Part) -> OperationState:
    """A held part about which was decided goes on, although nobody has told it yet."""
    if part.state is not OperationState.FAILED_TEMP:
        return part.state
    if decided.course is Course.BACK:
        return OperationState.ROLLING_BACK
    if decided.course is Course.GIVEN_UP:
        return OperationState.PROCESSING
    return OperationState.STARTING if part.tries < decided.tries else part.state


def _reaction(decided: Decided, part: Part) -> Reaction | None:
    if part.state is OperationState.FAILED_TEMP:
        if decided.course is Course.BACK:
            return Reaction.ROLLBACK
        if decided.course is Course.GIVEN_UP:
            return Reaction.FAIL
        return Reaction.RETRY if part.tries < decided.tries else None
    ends = decided.cancel_requested or (decided.adds and decided.course is Course.BACK)
    if part.state in ADMISSIBLE or part.state is OperationState.PROCESSING:
        return Reaction.CANCEL if ends and not part.cancel_requested else None
    if part.state in UNDER_WAY or part.state is OperationState.ROLLED_BACK or part.is_gone:
        return None
    return Reaction.REMOVE if decided.adds and decided.course is Course.BACK else None
