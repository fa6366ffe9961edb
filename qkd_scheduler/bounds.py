"""Upper bounds on what one Alice can serve; derivation in `docs/scheduling.md`.

Sharing one Alice is the economic lot scheduling problem: one machine, a set-up before each lot,
and stores of limited size. While she sets up and serves one Bob, all others live on their stores.

Demands here are a vector in fixed proportion; a bound is the largest factor by which it may be
scaled. `largest_common_demand_bps` is the special case in which all Bobs ask for the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from qkd_scheduler.errors import DemandError

_HALVINGS: Final = 60


@dataclass(frozen=True, slots=True)
class Lot:
    """One Bob as the lot scheduling problem knows him.

    `capacity_bit` is what his store holds; infinite is allowed.
    """

    demand_bps: float
    rate_bps: float
    set_up_s: float
    capacity_bit: float

    def __post_init__(self) -> None:
        values = (self.demand_bps, self.rate_bps, self.set_up_s)
        if not (all(math.isfinite(v) for v in values) and self.capacity_bit > 0):
            raise DemandError(
                "A Bob's demand, key rate and set-up time are numbers and his store is not empty",
                next_step="Give finite values and a capacity above 0 bit.",
            )
        if self.demand_bps < 0 or self.rate_bps <= 0 or self.set_up_s < 0:
            raise DemandError(
                f"demand {self.demand_bps:g} b/s, key rate {self.rate_bps:g} b/s and set-up "
                f"{self.set_up_s:g} s do not describe a Bob",
                next_step="Demand and set-up are not negative, and the key rate is above 0; "
                "a line beyond 7.34 dB makes no keys.",
            )

    @property
    def utilisation(self) -> float:
        """Share of Alice's time in which he must generate."""
        return self.demand_bps / self.rate_bps

    def scaled(self, factor: float) -> Lot:
        return Lot(self.demand_bps * factor, self.rate_bps, self.set_up_s, self.capacity_bit)


def longest_cycle_s(lot: Lot) -> float:
    """Longest time between two set-ups of this Bob: from empty to full and empty again, in s."""
    if lot.demand_bps == 0 or lot.utilisation >= 1:
        return math.inf
    return lot.capacity_bit / (lot.demand_bps * (1 - lot.utilisation))


def longest_interrupted_cycle_s(lots: Sequence[Lot], index: int) -> float:
    """As `longest_cycle_s`, but his turns also end before any other store runs dry, in s.

    A turn of his (set-up and dwell) lies within a pause of each other Bob j, which lasts at most
    capacity_j / demand_j and holds j's own next set-up too.
    """
    lot = lots[index]
    others = [o for i, o in enumerate(lots) if i != index and o.demand_bps > 0]
    own_s = longest_cycle_s(lot)
    if not others or lot.utilisation == 0:
        return own_s
    pause_s = min(o.capacity_bit / o.demand_bps - o.set_up_s for o in others)
    dwell_s = pause_s - lot.set_up_s
    return min(own_s, max(0.0, dwell_s) / lot.utilisation)


def load(lots: Sequence[Lot]) -> float:
    """Least share of Alice's time that these demands take; above 1 they cannot be served."""
    return sum(lot.utilisation + lot.set_up_s / longest_cycle_s(lot) for lot in lots)


def interrupted_load(lots: Sequence[Lot]) -> float:
    """As `load`, by the sharper limit of `longest_interrupted_cycle_s`; infinite if impossible."""
    total = 0.0
    for index, lot in enumerate(lots):
        cycle_s = longest_interrupted_cycle_s(lots, index)
        if cycle_s <= 0 and lot.set_up_s > 0:
            return math.inf
        total += lot.utilisation + (lot.set_up_s / cycle_s if cycle_s > 0 else 0.0)
    return total


def largest_factor(lots: Sequence[Lot]) -> float:
    """Largest factor by which all demands may grow (or must shrink) before Alice's time is full.

    Infinite if nobody asks for anything. Scaled by f, `load` is a f - b f^2. Who can serve f can
    serve less, so no f beyond the first root is possible, though the load may fall again there.
    """
    utilisation = sum(lot.utilisation for lot in lots)
    if utilisation == 0:
        return math.inf
    linear = sum(lot.set_up_s * lot.demand_bps / lot.capacity_bit for lot in lots) + utilisation
    square = sum(lot.set_up_s * lot.demand_bps * lot.utilisation / lot.capacity_bit for lot in lots)
    without_set_ups = 1 / utilisation
    discriminant = linear * linear - 4 * square
    if discriminant < 0:
        return without_set_ups
    return min(without_set_ups, 2 / (linear + math.sqrt(discriminant)))


def largest_interrupted_factor(lots: Sequence[Lot]) -> float:
    """As `largest_factor`, by `interrupted_load`; never above it."""
    high = largest_factor(lots)
    if math.isinf(high):
        return high
    low = 0.0
    # Whatever factor has a load above 1 is a bound, so any crossing will do.
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if interrupted_load([lot.scaled(middle) for lot in lots]) <= 1:
            low = middle
        else:
            high = middle
    return high


def without_set_ups_bps(rates_bps: Sequence[float]) -> float:
    """Common demand if set-ups cost no time: the harmonic sum of the key rates, in bit/s."""
    if not rates_bps:
        return math.inf
    if min(rates_bps) <= 0:
        raise DemandError(
            "a Bob without a key rate cannot be served",
            next_step="Leave him out; a line beyond 7.34 dB makes no keys.",
        )
    return 1 / sum(1 / rate for rate in rates_bps)


def largest_common_demand_bps(lots: Sequence[Lot], *, interrupted: bool = False) -> float:
    """Upper bound on the demand that every one of these Bobs can have at once, in bit/s.

    The `demand_bps` of the lots does not count. `interrupted` gives the sharper bound.
    """
    same = [Lot(1.0, lot.rate_bps, lot.set_up_s, lot.capacity_bit) for lot in lots]
    return largest_interrupted_factor(same) if interrupted else largest_factor(same)
