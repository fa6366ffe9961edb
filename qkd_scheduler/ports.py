"""What a turn needs of the world, one Protocol a neighbour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from qkd_scheduler.states import TurnState


@dataclass(frozen=True)
class UnitReading:
    """A QKD unit as its agent tells: is it up, did it fail, what does it measure."""

    standing_by: bool
    generating: bool
    failed: bool
    detail: str
    secret_key_rate_bps: float | None = None
    qber: float | None = None


class QuantumPath(Protocol):
    """Connects Alice and one Bob; owned by the turn."""

    def connect(self, turn_id: UUID, link: str) -> float:
        """Make and confirm the cross-connects; returns the path's loss in dB."""
        ...

    def release(self, turn_id: UUID) -> None:
        """Tear down what the turn owns; nothing to do is fine."""
        ...


class Unit(Protocol):
    """One QKD unit through its agent. Commands carry the turn and the leader's fencing number."""

    def start(self, turn_id: UUID, fencing: int, *, loss_db: float) -> None: ...

    def read(self) -> UnitReading: ...

    def stop(self, turn_id: UUID, fencing: int) -> None:
        """Stop whatever runs; nothing to do is fine."""
        ...


class Keys(Protocol):
    """The key stores of both ends."""

    def serve_waiting(self, link: str) -> int:
        """Extract keys for those who asked for one on demand; returns how many got theirs."""
        ...

    def drain(self, link: str) -> int:
        """Extract the same key ids at both ends, up to what the pool takes; returns how many."""
        ...

    def settle(self, link: str) -> None:
        """Discard at both ends what an interrupted extraction left half done."""
        ...


class TurnJournal(Protocol):
    """Where each state of a turn is written before it is acted upon."""

    def enter(self, turn_id: UUID, state: TurnState, detail: str = "") -> None: ...

    def measured(self, turn_id: UUID, reading: UnitReading) -> None:
        """Note Alice's key rate and QBER of this turn."""
        ...


@dataclass(frozen=True)
class Pair:
    """Alice and one Bob, as a link."""

    link: str
    alice: Unit
    bob: Unit
