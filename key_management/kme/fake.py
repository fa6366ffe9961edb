"""The KME at the other end, in this process and with faults to order, for tests."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from key_management.kme.contract import AllocationWanted
from key_management.kme.deliveries import Allocation
from key_management.kme.directory import KmeLink
from key_management.kme.errors import PeerNotReachedError, PeerRefusedError, PeerSilentError
from key_management.kme.service import Kme
from problem_details import Problem, ProblemError
from problem_details.answers import status_for

Answer = TypeVar("Answer")


class Line(StrEnum):
    """What happens to a request on its way."""

    WHOLE = "whole"
    DOWN = "down"
    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"


class FakePeer:
    """A `PeerKme` over another `Kme`. `kme` may be replaced: the other end starts again."""

    def __init__(self, status_of: dict[type[ProblemError], int]) -> None:
        self.kme: Kme | None = None
        self.line = Line.WHOLE
        self._status_of = status_of

    def accept(self, allocation: Allocation) -> bool:
        return self._carry(lambda kme: kme.accept(self._link(kme, allocation.link), allocation))

    def allocate(self, link: str, wanted: AllocationWanted) -> Allocation:
        return self._carry(lambda kme: kme.allocate(self._link(kme, link), wanted))

    def withdraw(
        self, link: str, batch_id: UUID, blocks: Collection[UUID], reason: str
    ) -> list[UUID]:
        return self._carry(
            lambda kme: kme.withdraw(self._link(kme, link), batch_id, blocks, reason)
        )

    @staticmethod
    def _link(kme: Kme, name: str) -> KmeLink:
        return next(link for link in kme.directory.links if link.name == name)

    def _carry(self, ask: Callable[[Kme], Answer]) -> Answer:
        assert self.kme is not None
        if self.line is Line.DOWN:
            raise PeerNotReachedError("the line is down", next_step="mend it")
        if self.line is Line.REQUEST_LOST:
            raise PeerSilentError("no answer", next_step="ask again")
        try:
            answer = ask(self.kme)
        except ProblemError as error:
            status = status_for(error, self._status_of) or 500
            raise PeerRefusedError(self.kme.directory.kme, Problem.of(error, status)) from error
        if self.line is Line.ANSWER_LOST:
            raise PeerSilentError("the answer is lost", next_step="ask again")
        return answer
