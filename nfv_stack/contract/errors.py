"""What a caller of a slave stack can meet.

SlaveError
├── SlaveUnreachableError   no answer came: the stack is down, or the path to it
├── SlaveRefusedError       it answered with a problem; `problem` has it whole
└── HeadRefusedError        a head of an audit chain whose signature does not hold
"""

from __future__ import annotations

from problem_details import Problem, ProblemError


class SlaveError(ProblemError):
    slug = "data-centre-error"
    title = "The data centre cannot do that"


class SlaveUnreachableError(SlaveError):
    slug = "data-centre-unreachable"
    title = "The data centre does not answer"


class SlaveRefusedError(SlaveError):
    slug = "data-centre-refused"
    title = "The data centre refused"

    def __init__(self, data_centre: str, problem: Problem) -> None:
        super().__init__(
            f"{data_centre}: {problem.detail or problem.title}",
            next_step=problem.next_step,
            cause=problem.type,
        )
        self.problem = problem


class HeadRefusedError(SlaveError):
    slug = "audit-head-refused"
    title = "This head of an audit chain is refused"
