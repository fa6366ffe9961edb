"""What a policy may see, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class BobView:
    """One Bob as the scheduler sees him. Levels are keys of 256 bits, held by both ends."""

    link: str
    level_keys: int
    target_keys: int
    """Below this level the pool wants Alice."""
    capacity_keys: int
    waiting_deployments: int
    """Deployments that wait for a key of this link now."""
    last_served: int
    """Rising number of his last turn, 0 if he never had one."""

    @property
    def wants_alice(self) -> bool:
        """He needs keys, and his pool has room for them."""
        has_room = self.level_keys < self.capacity_keys
        return has_room and (self.waiting_deployments > 0 or self.level_keys < self.target_keys)


@dataclass(frozen=True)
class Choice:
    """The next Bob and how long both units generate, in seconds of QKD time."""

    link: str
    dwell_s: float


class Policy(Protocol):
    """Chooses the next Bob, or None if nobody needs Alice."""

    def __call__(self, bobs: Sequence[BobView], /) -> Choice | None: ...
