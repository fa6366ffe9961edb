"""What a command's exit code says, by class of fault (docs/cli.md)."""

from __future__ import annotations

from http import HTTPStatus

from orchestrator.cli.errors import NoSuchThingError, RefusedError, UnreachableError
from problem_details import ProblemError

FAILED = 1
USAGE = 2
NOT_FOUND = 3
NOT_ALLOWED = 4
CONFLICT = 5
INVALID = 6
UNREACHABLE = 7
SERVER = 8
HELD = 9

MEANING: dict[int, str] = {
    0: "done",
    FAILED: "it ended otherwise than wanted: rolled back, failed, drift, a broken audit",
    USAGE: "the command line cannot be understood",
    NOT_FOUND: "there is no such thing",
    NOT_ALLOWED: "the orchestrator does not know you, or your role does not cover it",
    CONFLICT: "its present state does not allow it",
    INVALID: "the orchestrator refused what it was given",
    UNREACHABLE: "the orchestrator does not answer",
    SERVER: "the orchestrator, or something behind it, failed",
    HELD: "the operation failed and is held; it waits for `qnfv op retry`, `rollback` or `fail`",
}

_BY_STATUS: dict[int, int] = {
    HTTPStatus.UNAUTHORIZED: NOT_ALLOWED,
    HTTPStatus.FORBIDDEN: NOT_ALLOWED,
    HTTPStatus.NOT_FOUND: NOT_FOUND,
    HTTPStatus.GONE: NOT_FOUND,
    HTTPStatus.CONFLICT: CONFLICT,
    HTTPStatus.PRECONDITION_FAILED: CONFLICT,
}


def exit_code_of(error: ProblemError) -> int:
    """The code for an error that ended a command."""
    if isinstance(error, UnreachableError):
        return UNREACHABLE
    if isinstance(error, NoSuchThingError):
        return NOT_FOUND
    if isinstance(error, RefusedError):
        status = error.problem.status
        return _BY_STATUS.get(status, SERVER if status >= 500 else INVALID)
    return FAILED
