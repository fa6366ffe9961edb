"""What a way of sharing operations among orchestrators can do."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol
from uuid import UUID


class Claims(Protocol):
    """Operations under way are offered, and each is taken by one. Every method is thread-safe.

    What is offered follows from the operation table, which is the truth: offering again what is
    offered or taken already changes nothing, and what was lost is offered again.
    """

    def start(self, on_lost: Callable[[UUID], None]) -> None:
        """`on_lost` hears of every operation that this process holds no longer, without having
        given it back: whatever works on it shall end."""
        ...

    def offer(self, operation_ids: Collection[UUID]) -> None:
        """Somebody shall work on these."""
        ...

    def offered(self) -> list[UUID]:
        """What nobody works on, in the order in which it was offered."""
        ...

    def take(self, operation_id: UUID) -> int | None:
        """Hold it from now on. The number of this claim, higher than that of any before it (always
        0 where nobody else could have claimed it); None if it is not to be had."""
        ...

    def done(self, operation_id: UUID) -> None:
        """Nobody needs to work on it any more."""
        ...

    def give_back(self, operation_id: UUID) -> None:
        """Somebody else may go on with it."""
        ...

    def newest(self, operation_id: UUID, /) -> int:
        """The highest number that it was claimed under, by whomever."""
        ...

    def close(self) -> None:
        """Give back what is held, and hold nothing more."""
        ...
