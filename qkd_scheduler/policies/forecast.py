"""What a policy would do next, if demands, rates and set-ups are as foreseen.

Pure and quick: the timetable's planned turns, the time of the next refill or of running dry, and
admission by deadline all come from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from qkd_scheduler.policies.lots import by_link, lots_of
from qkd_scheduler.policies.view import KEY_BIT, BobView, Deadline, Policy

_TURNS: Final = 10_000
"""Limit of one forecast, against a policy whose turns do not advance time."""


@dataclass(frozen=True, slots=True)
class PlannedTurn:
    """A turn to come; times from now, in QKD seconds."""

    link: str
    starts_in_s: float
    generates_in_s: float
    ends_in_s: float
    gained_bit: float
    under_way: bool = False
    """Alice is with him already."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Turns in order of time, and per link when its pool first runs dry (None: it does not)."""

    turns: tuple[PlannedTurn, ...]
    dry_in_s: dict[str, float | None]
    broken: tuple[tuple[str, Deadline], ...] = ()
    """Promises for which the bits will not be there."""

    def refill_in_s(self, link: str) -> float | None:
        """When this link's next keys come; None if not within the horizon."""
        return next((t.generates_in_s for t in self.turns if t.link == link), None)


class _Pool:
    def __init__(self, bob: BobView, demand_bps: float) -> None:
        self.bob = bob
        self.level_bit = float(bob.level_bit)
        self.demand_bps = demand_bps
        self.at_s = 0.0
        self.last_served = bob.last_served
        self.waiting = bob.waiting_deployments
        self.dry_in_s: float | None = None if bob.level_bit > 0 else 0.0
        self.due = sorted(bob.deadlines, key=lambda deadline: deadline.due_in_s)
        self.broken: list[Deadline] = []

    def pass_to(self, now_s: float, rate_bps: float = 0.0) -> float:
        """Let time pass and hand over what falls due; returns the bits gained."""
        gained_bit = 0.0
        while self.due and self.due[0].due_in_s <= now_s:
            deadline = self.due.pop(0)
            gained_bit += self._flow(max(self.at_s, deadline.due_in_s), rate_bps)
            if self.level_bit < deadline.bits:
                self.broken.append(deadline)
            else:
                self.level_bit -= deadline.bits
        return gained_bit + self._flow(now_s, rate_bps)

    def _flow(self, now_s: float, rate_bps: float) -> float:
        span_s = now_s - self.at_s
        change_bps = rate_bps - self.demand_bps
        end_bit = self.level_bit + change_bps * span_s
        if end_bit < 0 and self.dry_in_s is None:
            self.dry_in_s = self.at_s + self.level_bit / -change_bps
        gained_bit = rate_bps * span_s
        if end_bit > self.bob.capacity_bit:
            gained_bit -= end_bit - self.bob.capacity_bit
        self.level_bit = min(max(end_bit, 0.0), float(self.bob.capacity_bit))
        self.at_s = now_s
        return max(0.0, gained_bit)

    def view(self) -> BobView:
        return replace(
            self.bob,
            level_keys=int(self.level_bit) // KEY_BIT,
            last_served=self.last_served,
            waiting_deployments=self.waiting,
            demand_bps=self.demand_bps,
            deadlines=tuple(Deadline(d.bits, d.due_in_s - self.at_s) for d in self.due),
            available=self.bob.available or self.at_s > 0,
            turn_ends_in_s=None,
            turn_generates_in_s=0.0,
        )


def forecast(
    policy: Policy, bobs: Sequence[BobView], horizon_s: float, *, look_every_s: float = 600.0
) -> Forecast:
    """Run the policy ahead for `horizon_s`; where Alice rests, look again `look_every_s` later.

    The turn that is on now (`turn_ends_in_s`) is finished first. Bobs who are not available now
    are expected back after the first turn.
    """
    lots = by_link(bobs, lots_of(bobs))
    pools = {bob.link: _Pool(bob, bob.demand_bps) for bob in bobs}
    turns: list[PlannedTurn] = []
    number = max((bob.last_served for bob in bobs), default=0)
    now_s = 0.0

    def serve(link: str, set_up_s: float, dwell_s: float, *, under_way: bool = False) -> None:
        nonlocal now_s, number
        number += 1
        pool, start_s = pools[link], now_s
        pool.pass_to(start_s + set_up_s)
        gained_bit = pool.pass_to(start_s + set_up_s + dwell_s, lots[link].rate_bps)
        pool.last_served, pool.waiting = number, 0
        now_s = start_s + set_up_s + dwell_s
        turns.append(PlannedTurn(link, start_s, start_s + set_up_s, now_s, gained_bit, under_way))
        for other in pools.values():
            other.pass_to(now_s)

    for bob in bobs:
        if bob.turn_ends_in_s is not None:
            set_up_s = min(bob.turn_generates_in_s, bob.turn_ends_in_s)
            serve(bob.link, set_up_s, bob.turn_ends_in_s - set_up_s, under_way=True)
    while now_s < horizon_s and len(turns) < _TURNS:
        choice = policy([pool.view() for pool in pools.values()])
        if choice is None:
            now_s = min(horizon_s, now_s + look_every_s)
            for pool in pools.values():
                pool.pass_to(now_s)
        else:
            dwell_s = choice.dwell_s if math.isfinite(choice.dwell_s) else horizon_s
            serve(choice.link, lots[choice.link].set_up_s, dwell_s)
    return Forecast(
        tuple(turns),
        {link: pool.dry_in_s for link, pool in pools.items()},
        tuple((link, deadline) for link, pool in pools.items() for deadline in pool.broken),
    )
