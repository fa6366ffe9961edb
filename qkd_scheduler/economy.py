"""What sharing saves: devices, and money where prices are given.

N links of their own need an Alice and a Bob each, 2N devices. Shared, N Bobs and A Alices do, and
A is 1 as long as one Alice can serve the demand: N + 1, as Aguado et al. (ECOC 2016) claim. Here A
is found by assigning the Bobs to ever more Alices until the least load of each fits her time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qkd_scheduler.bounds import Lot, load
from qkd_scheduler.errors import DemandError
from qkd_scheduler.policies.assignment import Route, Site, assign


@dataclass(frozen=True, slots=True)
class Prices:
    """Per device and per switched port, in one currency. Each device takes one port if shared."""

    alice: float
    bob: float
    switch_port: float = 0.0


@dataclass(frozen=True, slots=True)
class Economy:
    """Devices and costs, shared against one Alice a Bob."""

    bobs: int
    alices: int
    shared_cost: float | None
    own_cost: float | None

    @property
    def shared_devices(self) -> int:
        return self.bobs + self.alices

    @property
    def own_devices(self) -> int:
        return 2 * self.bobs

    @property
    def saved_share(self) -> float | None:
        """Of the cost; negative if the switch costs more than the Alices that it saves."""
        if self.shared_cost is None or not self.own_cost:
            return None
        return 1 - self.shared_cost / self.own_cost


def alices_needed(lots: Sequence[Lot], *, usable: float = 0.95) -> int:
    """Alices that this demand takes, if `usable` of the bound can be reached.

    Raises `DemandError` if a Bob is too much even for an Alice of his own.
    """
    if not 0 < usable <= 1:
        raise DemandError("the usable share lies above 0 and up to 1", next_step="Give one.")
    for number, lot in enumerate(lots, 1):
        if load([lot]) > 1 or lot.utilisation >= 1:
            raise DemandError(
                f"Bob {number} asks for {lot.demand_bps:g} b/s and his line makes "
                f"{lot.rate_bps:g} b/s, less the time for set-ups",
                next_step="Lower his demand, or shorten his line.",
            )
    alices = 1
    while alices < len(lots):
        names = [str(alice) for alice in range(alices)]
        sites = [Site(str(i), dict.fromkeys(names, Route(lot))) for i, lot in enumerate(lots)]
        if assign(sites, names).largest_load <= usable:
            return alices
        alices += 1
    return len(lots)


def compare(lots: Sequence[Lot], prices: Prices | None = None, *, usable: float = 0.95) -> Economy:
    """Devices and costs of serving these Bobs with shared Alices and with one Alice each."""
    bobs, alices = len(lots), alices_needed(lots, usable=usable)
    if prices is None:
        return Economy(bobs, alices, None, None)
    shared = bobs * prices.bob + alices * prices.alice + (bobs + alices) * prices.switch_port
    return Economy(bobs, alices, shared, bobs * (prices.alice + prices.bob))
