"""What the life cycle needs of the schedule: when keys come, and its word for it."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID


class Promises(Protocol):
    """The schedule's port for operations that wait for keys. Times are real seconds."""

    @property
    def links(self) -> list[str]:
        """The links that an Alice serves; only these can be promised."""
        ...

    def keys_expected_in_s(self, link: str) -> float | None:
        """Until the link's next keys; None if nobody can say."""
        ...

    def earliest_in_s(self, link: str, bits: int) -> float | None:
        """Until so many bits could be there; None if never. Nothing is promised by asking."""
        ...

    def promise(self, operation_id: UUID, link: str, bits: int, due_in_s: float) -> object:
        """Promise the bits by then. Raises PromiseRefusedError, which tells the earliest time."""
        ...

    def promise_kept(self, operation_id: UUID) -> None:
        """The operation has its keys. Nothing promised is fine."""
        ...

    def promise_withdrawn(self, operation_id: UUID) -> None:
        """The operation needs no keys any more. Nothing promised is fine."""
        ...
