"""What a policy may see, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

KEY_BIT: Final = 256
"""Bits of one key: the unit of levels and capacities."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Key bits promised to a waiting deployment.

    `due_in_s` seconds of QKD time from now; the bits come out of the pool at once, then.
    """

    bits: int
    due_in_s: float


@dataclass(frozen=True, slots=True)
class BobView:
    """One Bob as the scheduler sees him. Levels are keys of 256 bits, held by both ends.

    Times are QKD seconds. Fields with a default may be unknown; policies then assume what their
    docstrings say.
    """

    link: str
    level_keys: int
    target_keys: int
    """Below this level the pool wants Alice."""
    capacity_keys: int
    waiting_deployments: int
    """Deployments that wait for a key of this link now."""
    last_served: int
    """Rising number of his last turn, 0 if he never had one."""
    demand_bps: float = 0.0
    """Forecast of what is taken from the pool; 0 if none is known."""
    rate_bps: float | None = None
    """Secret key rate that his line gives."""
    set_up_s: float | None = None
    """From his cross-connect to his first key."""
    deadlines: tuple[Deadline, ...] = ()
    available: bool = True
    """Whether he may be chosen now: not excluded, and his path crosses no other present turn."""
    turn_ends_in_s: float | None = None
    """Alice is with him now, and leaves in so many seconds; None if she is not."""
    turn_generates_in_s: float = 0.0
    """Of that turn: when its first keys come."""

    @property
    def wants_alice(self) -> bool:
        """Somebody waits for a key of his, or his pool is low and has room.

        Who asks for a key on demand is served past a full pool.
        """
        is_low = self.level_keys < min(self.target_keys, self.capacity_keys)
        return self.waiting_deployments > 0 or is_low

    @property
    def level_bit(self) -> int:
        return self.level_keys * KEY_BIT

    @property
    def capacity_bit(self) -> int:
        return self.capacity_keys * KEY_BIT


@dataclass(frozen=True, slots=True)
class Choice:
    """The next Bob and how long both units generate, in seconds of QKD time."""

    link: str
    dwell_s: float


class Policy(Protocol):
    """Chooses the next Bob, or None if nobody needs Alice."""

    def __call__(self, bobs: Sequence[BobView], /) -> Choice | None: ...
