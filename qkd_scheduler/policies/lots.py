"""From what a policy sees to the lot scheduling problem: what is unknown gets an assumption."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from qkd_scheduler.bounds import Lot, largest_factor
from qkd_scheduler.policies.view import KEY_BIT, BobView

_ASSUMED_RATE_BPS: Final = 100.0
_ASSUMED_SET_UP_S: Final = 1265.0
"""A line of 25 km, the worst of Aguado et al., ECOC 2016."""
_LEAST_DEMAND_SHARE: Final = 0.01
"""Of the mean demand: a Bob of whom no demand is known keeps a small place in the plan."""

_NO_DEMAND_BPS: Final = 1e-6
"""A key in eight years: as good as no demand, and no number to divide by."""


def lots_of(bobs: Sequence[BobView]) -> tuple[Lot, ...]:
    """One lot a Bob, in the same order.

    Unknown rates and set-ups are those of a line of 25 km. Where no demand is known at all, equal
    demands are assumed that take half of what Alice can do. Demands beyond the bound are scaled
    down to it: what is missing is then missing for all in proportion.
    """
    return _lots_of(
        tuple(
            (
                bob.demand_bps,
                bob.rate_bps or _ASSUMED_RATE_BPS,
                bob.set_up_s if bob.set_up_s is not None else _ASSUMED_SET_UP_S,
                max(bob.capacity_keys, 1) * KEY_BIT,
            )
            for bob in bobs
        )
    )


@lru_cache(maxsize=1024)
def _lots_of(seen: tuple[tuple[float, float, float, int], ...]) -> tuple[Lot, ...]:
    known = [demand for demand, *_ in seen if demand > _NO_DEMAND_BPS]
    least = _LEAST_DEMAND_SHARE * sum(known) / len(known) if known else 1.0
    lots = tuple(
        Lot(max(demand, least), rate, set_up_s, float(capacity))
        for demand, rate, set_up_s, capacity in seen
    )
    factor = largest_factor(lots)
    if not known:
        return tuple(lot.scaled(factor / 2) for lot in lots)
    # A hair below, since nobody's utilisation may be 1: his store would never be full.
    return lots if factor > 1 else tuple(lot.scaled(factor * 0.999) for lot in lots)


def in_proportion(lots: tuple[Lot, ...]) -> tuple[Lot, ...]:
    """The same demands scaled to the bound, rounded: equal for all sizes of the same demand."""
    factor = largest_factor(lots)
    return tuple(
        Lot(_rounded(lot.demand_bps * factor), lot.rate_bps, lot.set_up_s, lot.capacity_bit)
        for lot in lots
    )


def fill_s(level_bit: float, lot: Lot) -> float:
    """How long he generates until his store is full, in s; infinite if it never is."""
    gain_bps = lot.rate_bps - lot.demand_bps
    return max(0.0, lot.capacity_bit - level_bit) / gain_bps if gain_bps > 0 else math.inf


def runs_dry_in_s(bob: BobView, lot: Lot) -> float:
    return bob.level_bit / lot.demand_bps if lot.demand_bps > 0 else math.inf


def by_link(bobs: Sequence[BobView], lots: Sequence[Lot]) -> Mapping[str, Lot]:
    return {bob.link: lot for bob, lot in zip(bobs, lots, strict=True)}


def _rounded(value: float) -> float:
    """To four digits: a forecast that moves less than that does not change a plan."""
    return float(f"{value:.3e}")
