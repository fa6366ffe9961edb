"""Our policy: follow the best cyclic plan from wherever the levels are.

`plan_cycle` says in which order and how often the Bobs come, from rates, set-ups, stores and the
ratio of demands alone. At each turn the policy asks which place in that cycle suits the present
levels: it lets the plan run on from a place, as far as the plan is long, and sees by how much time
the tightest visit comes before its Bob is dry (its slack). It stays in the cycle where it was as
long as that keeps everyone served, and else jumps to the place with the most slack. A turn makes
what its Bob uses until his next visit; time to spare beyond one lost set-up goes into longer lots,
since a larger lot is what saves set-ups.

Promised deadlines and waiting deployments come first when their time has come. Nothing is tuned
per instance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from qkd_scheduler.bounds import Lot
from qkd_scheduler.policies.cycle import CyclePlan, plan_cycle
from qkd_scheduler.policies.lots import fill_s, in_proportion, lots_of
from qkd_scheduler.policies.view import KEY_BIT, BobView, Choice

_BRISK: Final = 0.9
"""Quicker rounds are worth a look where they could be at least this much quicker."""


@dataclass(frozen=True)
class LotSizing:
    """Turns generate at least `shortest_dwell_s`."""

    shortest_dwell_s: float = 60.0

    def __call__(self, bobs: Sequence[BobView], /) -> Choice | None:
        needy = [
            i
            for i, bob in enumerate(bobs)
            if bob.available
            and (bob.wants_alice or (bob.deadlines and bob.level_keys < bob.capacity_keys))
        ]
        if not needy:
            return None
        lots = lots_of(bobs)
        urgent = _urgent(bobs, lots, needy)
        plan = _plan_of(lots)
        run = _Run(bobs, lots, plan, self.shortest_dwell_s)
        if urgent is not None:
            index, need_bit = urgent
            dwell_s = max(need_bit / lots[index].rate_bps, run.short_dwell_s(index))
        else:
            place = run.best_place(needy)
            index = plan.visits[place]
            dwell_s = run.dwell_s(place)
        if any(_is_dry(bob) and bob.available for i, bob in enumerate(bobs) if i != index):
            least_s = urgent[1] / lots[index].rate_bps if urgent is not None else 0.0
            dwell_s = max(least_s, min(dwell_s, run.short_dwell_s(index)))
        return Choice(bobs[index].link, max(self.shortest_dwell_s, dwell_s))


@lru_cache(maxsize=512)
def _plan_of(lots: tuple[Lot, ...]) -> CyclePlan:
    return plan_cycle(in_proportion(lots))


class _Run:
    """The plan, run on from the present levels."""

    def __init__(
        self,
        bobs: Sequence[BobView],
        lots: tuple[Lot, ...],
        plan: CyclePlan,
        shortest_dwell_s: float,
    ) -> None:
        self._bobs = bobs
        self._lots = lots
        self._plan = plan
        self._shortest_dwell_s = shortest_dwell_s
        self._levels_bit = [float(bob.level_bit) for bob in bobs]
        self._pace = 1.0
        self._later_s = 0.0

    def best_place(self, needy: Sequence[int]) -> int:
        """The visit of the plan to go on with, among those of Bobs who may be chosen.

        Where no place keeps everyone served at the plan's own pace, quicker rounds are looked at,
        down to those in which Alice can just make what is used.
        """
        best, best_slack_s, best_pace, best_later_s = -1, -math.inf, 1.0, 0.0
        for pace in self._paces():
            self._pace = pace
            place, slack_s, later_s = self._best_place(needy)
            if slack_s > best_slack_s:
                best, best_slack_s, best_pace, best_later_s = place, slack_s, pace, later_s
            if best_slack_s >= 0:
                break
        self._pace, self._later_s = best_pace, best_later_s
        return best

    def _paces(self) -> tuple[float, ...]:
        """Shares of the planned intervals, the slowest rounds first."""
        utilisation = sum(lot.utilisation for lot in self._lots)
        set_ups_s = sum(self._lots[bob].set_up_s for bob in self._plan.visits)
        planned_s = set_ups_s + sum(self._plan.dwell_s)
        if utilisation >= 1 or planned_s <= 0:
            return (1.0,)
        least = set_ups_s / (1 - utilisation) / planned_s
        return (1.0, math.sqrt(least), least) if least < _BRISK else (1.0,)

    def _best_place(self, needy: Sequence[int]) -> tuple[int, float, float]:
        """The place, its least slack, and the least slack of those who come after the first."""
        visits = self._plan.visits
        follower = self._follower
        allowed = set(needy)
        best, best_slack_s, best_later_s = -1, -math.inf, 0.0
        # From the natural follower on: who is as good and comes sooner wins.
        for step in range(len(visits)):
            place = (follower + step) % len(visits)
            if visits[place] not in allowed:
                continue
            first_s, later_s = self._slacks_s(place, best_slack_s)
            slack_s = min(first_s, later_s)
            if slack_s > best_slack_s:
                best, best_slack_s, best_later_s = place, slack_s, later_s
            if place == follower and slack_s >= 0:
                break
        return best, best_slack_s, best_later_s

    def dwell_s(self, place: int) -> float:
        """How long he generates at the best place, once that was looked for.

        What he needs, and the time to spare beyond one lost set-up; until he is full.
        """
        bob = self._plan.visits[place]
        lot = self._lots[bob]
        level_bit = max(0.0, self._levels_bit[bob] - lot.demand_bps * lot.set_up_s)
        # His own slack now is none of a longer dwell's: only who comes after him must wait.
        spare_s = self._later_s - max(each.set_up_s for each in self._lots)
        needed_s = self._needed_s(place, level_bit)
        return min(needed_s + max(0.0, spare_s), fill_s(level_bit, lot))

    def short_dwell_s(self, index: int) -> float:
        """His part of a cycle of which set-ups take half: how to share when several are dry."""
        utilisation = sum(lot.utilisation for lot in self._lots)
        set_ups_s = sum(lot.set_up_s for lot in self._lots)
        return self._lots[index].utilisation / utilisation * set_ups_s

    def _needed_s(self, place: int, level_bit: float) -> float:
        lot = self._lots[self._plan.visits[place]]
        lasting_bit = lot.demand_bps * self._plan.interval_s[place] * self._pace
        return max(self._shortest_dwell_s, (lasting_bit - level_bit) / lot.rate_bps)

    def _slacks_s(self, start: int, give_up_s: float) -> tuple[float, float]:
        """Slack of the visit at `start`, and least slack of the rest of one cycle from there.

        Cut short once a slack is no more than `give_up_s`.
        """
        visits, lots = self._plan.visits, self._lots
        levels_bit = self._levels_bit.copy()
        at_s = [0.0] * len(lots)
        now_s, first_s, later_s = 0.0, math.inf, math.inf
        for step in range(len(visits)):
            place = (start + step) % len(visits)
            bob = visits[place]
            lot = lots[bob]
            now_s += lot.set_up_s
            level_bit = levels_bit[bob] - lot.demand_bps * (now_s - at_s[bob])
            slack_s = level_bit / lot.demand_bps
            if step == 0:
                first_s = slack_s
            elif slack_s < later_s:
                later_s = slack_s
            if slack_s <= give_up_s:
                break
            level_bit = max(0.0, level_bit)
            dwell_s = min(self._needed_s(place, level_bit), fill_s(level_bit, lot))
            now_s += dwell_s
            levels_bit[bob] = level_bit + (lot.rate_bps - lot.demand_bps) * dwell_s
            at_s[bob] = now_s
        return first_s, later_s

    @cached_property
    def _follower(self) -> int:
        """The place after the one that the order of past turns fits best."""
        order = sorted(
            (i for i, bob in enumerate(self._bobs) if bob.last_served > 0),
            key=lambda i: -self._bobs[i].last_served,
        )
        best, best_match = 0, -1
        for place, latest in enumerate(_latest_before(self._plan.visits)):
            match = _matching(order, latest)
            if match > best_match:
                best, best_match = place, match
        return best


@lru_cache(maxsize=512)
def _latest_before(visits: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """For each place of the cycle, the Bobs by their latest visit before it."""
    number = len(visits)
    return tuple(
        tuple(dict.fromkeys(visits[place - step] for step in range(1, number + 1)))
        for place in range(number)
    )


def _matching(order: Sequence[int], latest: Sequence[int]) -> int:
    match = 0
    for wanted, found in zip(order, latest, strict=False):
        if wanted != found:
            break
        match += 1
    return match


def _is_dry(bob: BobView) -> bool:
    return bob.waiting_deployments > 0 or (bob.level_keys == 0 and bob.wants_alice)


def _urgent(
    bobs: Sequence[BobView], lots: Sequence[Lot], needy: Sequence[int]
) -> tuple[int, float] | None:
    """The Bob whose promise or waiting deployment allows no other turn first, and his bits.

    A promise is urgent once there is no time left for the longest other turn (its set-up and a
    short dwell) before it.
    """
    longest_other_s = 2 * max(lot.set_up_s for lot in lots)
    most_urgent: tuple[float, int, float] | None = None
    for index in needy:
        bob, lot = bobs[index], lots[index]
        missing = _missing(bob, lot)
        if missing is None:
            continue
        latest_start_s, need_bit = missing
        found = (latest_start_s, index, need_bit)
        if latest_start_s <= longest_other_s and (most_urgent is None or found < most_urgent):
            most_urgent = found
    return (most_urgent[1], most_urgent[2]) if most_urgent is not None else None


def _missing(bob: BobView, lot: Lot) -> tuple[float, float] | None:
    """When his turn must begin at the latest for what waits or was promised, and its bits."""
    tightest: tuple[float, float] | None = None
    # Who waits wants fresh keys: what the pool holds does not help him.
    waiting_bit = bob.waiting_deployments * KEY_BIT
    if waiting_bit > 0:
        # Among those who wait, who has the shortest way to his keys comes first.
        tightest = (lot.set_up_s + waiting_bit / lot.rate_bps - 1e9, float(waiting_bit))
    due_bit = 0.0
    for deadline in sorted(bob.deadlines, key=lambda each: each.due_in_s):
        due_bit += deadline.bits
        need_bit = due_bit + lot.demand_bps * max(0.0, deadline.due_in_s) - bob.level_bit
        if need_bit <= 0:
            continue
        start_s = deadline.due_in_s - lot.set_up_s - need_bit / lot.rate_bps
        if tightest is None or start_s < tightest[0]:
            tightest = (start_s, need_bit)
    return tightest
