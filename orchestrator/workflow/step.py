"""What the engine needs of a step: its name, how to do it, how to undo it."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID


class Step(Protocol):
    """One step of an operation.

    After a crash the step that ran is run again, so `do` and `undo` must find what they already
    did; the operation's id is the key to that. `undo` is also called when `do` failed half way.
    """

    @property
    def name(self) -> str:
        """Stable: the engine finds its place by it after a restart."""
        ...

    def do(self, operation_id: UUID) -> dict[str, Any]:
        """Do the work; returns what people should see of it. Raises a ProblemError."""
        ...

    def undo(self, operation_id: UUID) -> None:
        """Take its effect away. Raises a ProblemError if that is not possible yet."""
        ...
