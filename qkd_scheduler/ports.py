"""What a turn needs of the world, one Protocol a neighbour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from qkd_scheduler.faults import Fault
from qkd_scheduler.measurements import Measured, UnitReading
from qkd_scheduler.states import TurnState


class QuantumPath(Protocol):
    """Connects Alice and one Bob; owned by the turn."""

    def connect(self, turn_id: UUID, link: str) -> float:
        """Make and confirm the cross-connects; returns the path's loss in dB.

        Raises PathBusyError while others use its ports.
        """
        ...

    def loss_of_light(self, turn_id: UUID) -> str | None:
        """Why no light can pass the turn's path; None while nothing is known against it."""
        ...

    def release(self, turn_id: UUID) -> None:
        """Tear down what the turn owns; nothing to do is fine."""
        ...


class Unit(Protocol):
    """One QKD unit through its agent. Commands carry the turn and the leader's fencing number.

    Every method raises UnitSilentError where nobody answers.
    """

    def start(self, turn_id: UUID, fencing: int, *, loss_db: float) -> None: ...

    def read(self) -> UnitReading: ...

    def stop(self, turn_id: UUID, fencing: int) -> None:
        """Stop whatever runs; nothing to do is fine."""
        ...


class Keys(Protocol):
    """The key stores of both ends. Keys remember the turn that made them."""

    def serve_waiting(self, link: str, turn_id: UUID) -> int:
        """Extract keys for those who asked for one on demand; returns how many got theirs."""
        ...

    def drain(self, link: str, turn_id: UUID, *, at_most: int) -> int:
        """Extract the same key ids at both ends, up to what the pool takes; returns how many."""
        ...

    def quarantine(self, link: str, turn_id: UUID, reason: str) -> int:
        """Take this turn's unused keys out of use at both ends; returns how many."""
        ...

    def settle(self, link: str) -> None:
        """Discard at both ends what an interrupted extraction left half done."""
        ...


class TurnJournal(Protocol):
    """Where each state of a turn is written before it is acted upon."""

    def enter(
        self, turn_id: UUID, state: TurnState, detail: str = "", *, fault: Fault | None = None
    ) -> None: ...

    def measured(self, turn_id: UUID, measured: Measured) -> None:
        """Note what Alice's unit measured in this turn so far."""
        ...

    def gained(self, turn_id: UUID, keys: int) -> None:
        """Note how many keys both ends gained in this turn so far."""
        ...


@dataclass(frozen=True)
class Pair:
    """Alice and one Bob, as a link. Where either unit stands is its adapter's business."""

    link: str
    alice: Unit
    bob: Unit
