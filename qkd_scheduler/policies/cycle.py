"""Cyclic plans: in which order Alice visits the Bobs, some of them several times a cycle.

A plan is a sequence of visits repeated for ever, without idle time, in which each visit makes what
its Bob uses until his next one ("zero switch" rule). For a given sequence the dwells then follow
from a linear system (Dobson, "The economic lot-scheduling problem", Operations Research 35, 1987),
and the sequence can serve all demands times some largest factor before an interval grows longer
than its Bob's store lasts. `plan_cycle` searches for the sequence with the largest factor: it
starts from cycles with visits in the ratio of the bound's own frequencies, then adds, moves, swaps
and removes visits while that helps, and starts again from a shaken copy of the best.

Everything here depends on rates, set-ups, stores and the ratio of demands, never on levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qkd_scheduler.bounds import Lot, largest_factor, longest_cycle_s

_HALVINGS: Final = 24
_LARGEST_VISITS: Final = 48
_SOLUTIONS_PER_BOB: Final = 500
"""Linear systems solved in one search: about 0.1 s a Bob."""
_VAIN_CLIMBS: Final = 8
"""So many without a better sequence end the search."""
_SHARPNESS: Final = 16
"""Exponent under which the tightness of all Bobs is summed: nearly a maximum, without plateaus."""


@dataclass(frozen=True, slots=True)
class CyclePlan:
    """A repeated sequence of visits.

    `visits` are indices of Bobs; `interval_s[k]` is the time from visit k's first key to the first
    key of the next visit of the same Bob, and `dwell_s[k]` how long visit k generates. Both are
    those of `factor` times the demands, the largest factor that this sequence serves.
    """

    visits: tuple[int, ...]
    dwell_s: tuple[float, ...]
    interval_s: tuple[float, ...]
    factor: float


def intervals_s(visits: Sequence[int], lots: Sequence[Lot]) -> NDArray[np.float64]:
    """Steady intervals between the visits of a sequence, in s; infinite if Alice is overloaded.

    dwell_k = utilisation x interval_k, and interval_k is visit k's dwell, then all visits between,
    then the next set-up of the same Bob.
    """
    if sum(lot.utilisation for lot in lots) >= 1:
        return np.full(len(visits), math.inf)
    utilisation = np.array([lot.utilisation for lot in lots])
    set_up_s = np.array([lot.set_up_s for lot in lots])
    return _solve(visits, utilisation, set_up_s)


def _solve(
    visits: Sequence[int], utilisation: NDArray[np.float64], set_up_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    number = len(visits)
    chosen = np.array(visits)
    following = _next_visits(visits)
    covers = np.zeros((number, number))
    for k, n in enumerate(following):
        if n > k:
            covers[k, k:n] = 1
        else:
            covers[k, k:] = 1
            covers[k, :n] = 1
    # Set-ups in an interval: those after visit k, up to that of the next visit of the same Bob.
    per_visit_s = set_up_s[chosen]
    set_ups_s = covers @ per_visit_s - per_visit_s + per_visit_s[following]
    system = np.eye(number) - covers * utilisation[chosen]
    return np.asarray(np.linalg.solve(system, set_ups_s), dtype=np.float64)


def largest_factor_of(visits: Sequence[int], lots: Sequence[Lot], at_least: float = 0.0) -> float:
    """Largest factor on all demands that the sequence serves; 0 if not even `at_least`."""

    def serves(factor: float) -> bool:
        at = [lot.scaled(factor) for lot in lots]
        longest_s = np.array([longest_cycle_s(at[i]) for i in visits])
        return bool(np.all(intervals_s(visits, at) <= longest_s))

    low, high = at_least, 1 / sum(lot.utilisation for lot in lots)
    if not serves(low):
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if serves(middle):
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=512)
def plan_cycle(lots: tuple[Lot, ...]) -> CyclePlan:
    """The best sequence found for these Bobs, each of whom has a demand above 0.

    Deterministic; the search is bounded by work, not by time. Cached, since a policy asks again at
    each turn.
    """
    visits, factor = _Search(lots).run()
    at = [lot.scaled(factor) for lot in lots]
    interval_s = intervals_s(visits, at)
    dwell_s = [at[i].utilisation * t for i, t in zip(visits, interval_s, strict=True)]
    return CyclePlan(visits, tuple(map(float, dwell_s)), tuple(map(float, interval_s)), factor)


class _Search:
    """Hill climbing over sequences.

    A sequence's tightness at a visit is the interval over the longest that the Bob's store lasts.
    At a fixed factor the climb lowers a soft maximum of it; whatever ends below the best sequence's
    own maximum serves more, and sets the factor of the next climb.
    """

    def __init__(self, lots: Sequence[Lot]) -> None:
        self._lots = lots
        # The order in which neighbours are tried; a fixed seed, so that plans repeat.
        self._random = Random(1)  # noqa: S311
        self._left = float(_SOLUTIONS_PER_BOB * len(lots))

    def run(self) -> tuple[tuple[int, ...], float]:
        starts = list(_starts(self._lots))
        factors = [largest_factor_of(visits, self._lots) for visits in starts]
        factor = max(factors)
        best = starts[factors.index(factor)]
        if len(self._lots) < 3:
            return best, factor
        self._refer_to(factor)
        starts.sort(key=lambda visits: self._rate(visits)[0])
        number = vain = 0
        while self._left > 0 and vain < _VAIN_CLIMBS:
            start = starts[number] if number < min(4, len(starts)) else self._shaken(best)
            visits = self._climb(start)
            better = largest_factor_of(visits, self._lots, factor)
            if better > factor:
                best, factor = visits, better
                self._refer_to(factor)
                vain = 0
            number, vain = number + 1, vain + 1
        return best, factor

    def _refer_to(self, factor: float) -> None:
        at = [lot.scaled(factor) for lot in self._lots]
        self._utilisation = np.array([lot.utilisation for lot in at])
        self._set_up_s = np.array([lot.set_up_s for lot in at])
        self._longest_s = np.array([longest_cycle_s(lot) for lot in at])

    def _rate(self, visits: tuple[int, ...]) -> tuple[float, NDArray[np.float64]]:
        """Soft maximum of the tightness (less is better), and the tightness of each visit."""
        self._left -= max(1.0, (len(visits) / 32) ** 2)
        interval_s = _solve(visits, self._utilisation, self._set_up_s)
        tightness = interval_s / self._longest_s[list(visits)]
        worst = [0.0] * len(self._lots)
        for bob, tight in zip(visits, tightness.tolist(), strict=True):
            worst[bob] = max(worst[bob], tight)
        return float(sum(tight**_SHARPNESS for tight in worst)), tightness

    def _climb(self, visits: tuple[int, ...]) -> tuple[int, ...]:
        """Take the first change that helps, again and again, until none does."""
        score, tightness = self._rate(visits)
        improved = True
        while improved and self._left > 0:
            improved = False
            for candidate in self._changes(visits, tightness):
                candidate_score, candidate_tightness = self._rate(candidate)
                if candidate_score < score * (1 - 1e-6):
                    visits, score, tightness = candidate, candidate_score, candidate_tightness
                    improved = True
                    break
                if self._left <= 0:
                    break
        return visits

    def _changes(
        self, visits: tuple[int, ...], tightness: NDArray[np.float64]
    ) -> list[tuple[int, ...]]:
        number = len(visits)
        found: list[tuple[int, ...]] = []
        tightest = np.argsort(-tightness, kind="stable")[: max(3, number // 3)]
        if number < _LARGEST_VISITS:
            for bob in dict.fromkeys(visits[int(k)] for k in tightest):
                found += [
                    (*visits[:place], bob, *visits[place:])
                    for place in range(number)
                    if bob not in (visits[place - 1], visits[place])
                ]
        for own, bob in enumerate(visits):
            rest = visits[:own] + visits[own + 1 :]
            if bob in rest:
                found.append(rest)
            found += [
                (*rest[:place], bob, *rest[place:]) for place in range(number - 1) if place != own
            ]
        for a in range(number):
            for b in range(a + 1, number):
                if visits[a] != visits[b]:
                    swapped = list(visits)
                    swapped[a], swapped[b] = swapped[b], swapped[a]
                    found.append(tuple(swapped))
        self._random.shuffle(found)
        return found

    def _shaken(self, visits: tuple[int, ...]) -> tuple[int, ...]:
        shaken = list(visits)
        for _ in range(3):
            kind = self._random.random()
            place = self._random.randrange(len(shaken))
            if kind < 0.4 and len(shaken) < _LARGEST_VISITS:
                shaken.insert(place, self._random.choice(shaken))
            elif kind < 0.7 and shaken.count(shaken[place]) > 1:
                shaken.pop(place)
            else:
                bob = shaken.pop(place)
                shaken.insert(self._random.randrange(len(shaken) + 1), bob)
        return tuple(shaken)


def _next_visits(visits: Sequence[int]) -> list[int]:
    """For each visit the position of the same Bob's next one, around the cycle."""
    following: dict[int, int] = {}
    for k in range(len(visits) - 1, -1, -1):
        following[visits[k]] = k
    result = [0] * len(visits)
    for k in range(len(visits) - 1, -1, -1):
        result[k] = following[visits[k]]
        following[visits[k]] = k
    return result


def _starts(lots: Sequence[Lot]) -> Iterator[tuple[int, ...]]:
    """Sequences in which each Bob comes as often as the bound would have him, evenly spread."""
    yield tuple(range(len(lots)))
    factor = largest_factor(lots)
    at = [lot.scaled(factor) for lot in lots]
    longest_s = [min(longest_cycle_s(lot), 1e12) for lot in at]
    seen = {(1,) * len(lots)}
    for times in (1.0, 2.0, 3.0):
        for base_s in sorted(set(longest_s)):
            counts = tuple(max(1, math.ceil(times * base_s / t - 1e-9)) for t in longest_s)
            if sum(counts) <= _LARGEST_VISITS and counts not in seen:
                seen.add(counts)
                yield _spread(counts, at)


def _spread(counts: Sequence[int], lots: Sequence[Lot]) -> tuple[int, ...]:
    """Visits in the given numbers, each Bob's evenly spread over the cycle."""
    work_s = [
        lot.set_up_s + lot.utilisation * sum(other.set_up_s for other in lots) for lot in lots
    ]
    total_s = sum(n * w for n, w in zip(counts, work_s, strict=True))
    middles = [
        ((k + 0.5) * total_s / n - work_s[i] / 2, i) for i, n in enumerate(counts) for k in range(n)
    ]
    return tuple(i for _, i in sorted(middles))
