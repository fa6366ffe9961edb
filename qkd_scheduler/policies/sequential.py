"""The paper's policy: one Bob at a time, sequentially.

Aguado et al. (ECOC 2016) connect Alice "with every Bob, one connection at a time and sequentially".
They state no dwell and no objective; equal slots are our reading. Bobs who need no keys are passed
over; the one whose last turn lies furthest back comes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qkd_scheduler.policies.view import BobView, Choice


@dataclass(frozen=True)
class Sequential:
    """Equal slots of `slot_s` seconds of QKD time."""

    slot_s: float = 600.0

    def __call__(self, bobs: Sequence[BobView], /) -> Choice | None:
        needy = [bob for bob in bobs if bob.wants_alice and bob.available]
        if not needy:
            return None
        first = min(needy, key=lambda bob: (bob.last_served, bob.link))
        return Choice(first.link, self.slot_s)
