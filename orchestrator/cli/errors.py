"""What can go wrong between the command line and an orchestrator.

ClientError
+-- UnreachableError   nobody answers there
+-- NoSuchThingError   no one thing is called so
+-- RefusedError       the orchestrator's own problem
"""

from __future__ import annotations

from problem_details import Problem, ProblemError


class ClientError(ProblemError):
    slug = "client"
    title = "The request could not be carried out"


class UnreachableError(ClientError):
    slug = "orchestrator-unreachable"
    title = "The orchestrator does not answer"


class NoSuchThingError(ClientError):
    slug = "no-such-thing"
    title = "No one thing is called so"


class RefusedError(ClientError):
    """The orchestrator's own problem."""

    slug = "refused"
    title = "The orchestrator refused"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title, next_step=problem.next_step)
        self.problem = problem
