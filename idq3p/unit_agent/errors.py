"""What an agent refuses, and what its client meets.

UnitAgentError
├── StaleFencingError         the command comes from a leader that was replaced     409
├── UnitBusyError             the unit serves another turn                          409
├── UnfitRequestError         the command does not fit this unit's role             422
├── ProgramStartError         the unit's program cannot be started                  503
├── AgentStateError           the agent's state directory cannot be used            500
├── UnitAgentUnreachableError (client) nobody answers
└── UnitAgentRefusedError     (client) the agent answered with a problem
"""

from __future__ import annotations

from typing import Final

from idq3p.errors import Idq3pError
from problem_details import Problem, ProblemError
from trust.errors import NotAllowedError


class UnitAgentError(Idq3pError):
    slug = "unit-agent-error"
    title = "The agent of the QKD unit reports an error"


class StaleFencingError(UnitAgentError):
    slug = "stale-fencing-number"
    title = "The command comes from a leader that was replaced"


class UnitBusyError(UnitAgentError):
    slug = "unit-busy"
    title = "The QKD unit serves another turn"


class UnfitRequestError(UnitAgentError):
    slug = "unit-request-unfit"
    title = "The command does not fit this QKD unit"


class ProgramStartError(UnitAgentError):
    slug = "unit-program-start"
    title = "The program of the QKD unit cannot be started"


class AgentStateError(UnitAgentError):
    slug = "unit-agent-state"
    title = "The agent's state directory cannot be used"


class UnitAgentUnreachableError(UnitAgentError):
    slug = "unit-agent-unreachable"
    title = "The agent of the QKD unit does not answer"


class UnitAgentRefusedError(UnitAgentError):
    """The agent's own problem document, as its client sees it."""

    slug = "unit-agent-refused"
    title = "The agent of the QKD unit refused the request"

    def __init__(self, name: str, problem: Problem) -> None:
        super().__init__(
            f"The unit agent {name} refused: {problem.detail or problem.title}",
            next_step=problem.next_step,
            problem=problem.slug,
        )
        self.problem = problem


STATUS_OF: Final[dict[type[ProblemError], int]] = {
    NotAllowedError: 403,
    StaleFencingError: 409,
    UnitBusyError: 409,
    UnfitRequestError: 422,
    ProgramStartError: 503,
    UnitAgentError: 500,
}
