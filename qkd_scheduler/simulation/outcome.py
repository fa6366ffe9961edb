"""What a simulation measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of one Alice. `generating_s` is when keys began (or the set-up failed)."""

    alice: int
    bob: str
    start_s: float
    generating_s: float
    end_s: float
    failed: bool


@dataclass(frozen=True, slots=True)
class Pledge:
    """A pad request: what was promised, and what came of it. Times since the start."""

    bob: str
    bits: float
    asked_s: float
    due_s: float
    promised_s: float | None
    """None: refused."""
    earliest_s: float | None
    """Told with a refusal; None if it can never be."""
    kept: bool | None
    """None: refused, or not due yet when the simulation ended."""


@dataclass(frozen=True, slots=True)
class BobOutcome:
    """One Bob over the counted time."""

    name: str
    rate_bps: float
    set_up_s: float
    demand_bps: float
    asked_bit: float
    short_bit: float
    gained_bit: float
    overflow_bit: float
    expired_bit: float
    least_bit: float
    turns: int
    waits_s: tuple[float, ...] = ()
    """How long transfers waited for their bits (single transfers only; 0 for those who did not)."""

    @property
    def shortfall(self) -> float:
        """Share of the demand that was not there when asked for."""
        return self.short_bit / self.asked_bit if self.asked_bit > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything over the counted time; `turns`, `levels` and `pledges` from the very start."""

    counted_s: float
    bobs: tuple[BobOutcome, ...]
    set_up_share: float
    """Of Alices' time."""
    generating_share: float
    failed_turns: int
    moves: int
    turns: tuple[Turn, ...] = ()
    levels: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """Per Bob: (time in s, level in bit) at each bend."""
    pledges: tuple[Pledge, ...] = ()

    @property
    def worst_shortfall(self) -> float:
        return max(bob.shortfall for bob in self.bobs)

    @property
    def shortfall(self) -> float:
        """Of all demand together."""
        asked = sum(bob.asked_bit for bob in self.bobs)
        return sum(bob.short_bit for bob in self.bobs) / asked if asked > 0 else 0.0

    @property
    def kept_share(self) -> float | None:
        """Kept promises among those that fell due; None if there were none."""
        due = [pledge.kept for pledge in self.pledges if pledge.kept is not None]
        return sum(due) / len(due) if due else None

    def document(self) -> dict[str, Any]:
        """For JSON; without levels and single waits, which are for the pictures."""
        bobs = []
        for bob in self.bobs:
            entry = asdict(bob)
            waits_s = sorted(entry.pop("waits_s"))
            entry["shortfall"] = bob.shortfall
            if waits_s:
                entry["mean_wait_s"] = sum(waits_s) / len(waits_s)
                entry["wait_95_percent_s"] = waits_s[int(0.95 * (len(waits_s) - 1))]
                entry["transfers"] = len(waits_s)
            bobs.append(entry)
        return {
            "counted_s": self.counted_s,
            "shortfall": self.shortfall,
            "worst_shortfall": self.worst_shortfall,
            "set_up_share": self.set_up_share,
            "generating_share": self.generating_share,
            "failed_turns": self.failed_turns,
            "moves": self.moves,
            "promises": {
                "asked": len(self.pledges),
                "admitted": sum(p.promised_s is not None for p in self.pledges),
                "kept_share": self.kept_share,
            },
            "bobs": bobs,
        }
