"""What is simulated. Times are seconds of QKD time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from qkd_scheduler.bounds import Lot
from qkd_scheduler.errors import DemandError
from qkd_scheduler.link_model import (
    FITTED_BACK_TO_BACK_LOSS_DB,
    InitialisationModel,
    initialisation_s,
    line,
)
from qkd_scheduler.policies import KEY_BIT, Policy

DAY_S: Final = 86_400.0
_FIBRE_DB_PER_KM: Final = 0.2


@dataclass(frozen=True)
class Transfers:
    """Demand in single transfers that come at random (Poisson) and take `bits` each at once.

    One that finds too few waits for its bits; bits that were not there at once count as shortfall.
    """

    bits: float = 64.0 * KEY_BIT


@dataclass(frozen=True)
class Bursts:
    """One-time-pad requests on top of the other demand: `bits` within `due_in_s`.

    They come at random, one in `every_s` on average and Bob. Each is promised a time or refused.
    """

    bits: float
    due_in_s: float
    every_s: float


@dataclass(frozen=True)
class Bob:
    """A Bob, his line and his store. `start_bit` None: his store is full at the start.

    `resources` are the fibres and switch ports of his path: no two turns share one at a time.
    """

    name: str
    rate_bps: float
    set_up_s: float
    capacity_bit: float
    demand_bps: float
    start_bit: float | None = None
    resources: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.lot()
        if self.capacity_bit < KEY_BIT:
            raise DemandError(
                f"the store of {self.name} holds {self.capacity_bit:g} bit: not a single key",
                next_step=f"Give a capacity of at least {KEY_BIT} bit.",
            )

    def lot(self) -> Lot:
        return Lot(self.demand_bps, self.rate_bps, self.set_up_s, self.capacity_bit)


def bob_at(
    name: str,
    distance_km: float,
    *,
    capacity_bit: float,
    demand_bps: float,
    extra_loss_db: float = 0.0,
    initialisation: InitialisationModel = InitialisationModel.PHYSICAL,
    resources: frozenset[str] = frozenset(),
) -> Bob:
    """A Bob over a fibre of 0.2 dB/km behind one switch passage; `DemandError` if out of reach."""
    rate_bps, set_up_s = rate_and_set_up(
        distance_km, extra_loss_db=extra_loss_db, initialisation=initialisation
    )
    return Bob(name, rate_bps, set_up_s, capacity_bit, demand_bps, resources=resources)


def rate_and_set_up(
    distance_km: float,
    *,
    extra_loss_db: float = 0.0,
    initialisation: InitialisationModel = InitialisationModel.PHYSICAL,
) -> tuple[float, float]:
    """Key rate in bit/s and set-up in s over a distance; `DemandError` if no key is left."""
    if not (0 <= distance_km < 1000 and extra_loss_db >= 0):
        raise DemandError(
            f"a line of {distance_km:g} km and {extra_loss_db:g} dB of other loss does not exist",
            next_step="Give a distance and a loss that are not negative.",
        )
    loss_db = FITTED_BACK_TO_BACK_LOSS_DB + _FIBRE_DB_PER_KM * distance_km + extra_loss_db
    at = line(loss_db, distance_km)
    if at.secret_key_rate_bps <= 0:
        raise DemandError(
            f"a line of {distance_km:g} km loses {loss_db:.2f} dB: no key is left",
            next_step="Bring Bob within 7.34 dB (about 28 km of fibre), or relay over a node.",
        )
    return at.secret_key_rate_bps, initialisation_s(at, initialisation)


@dataclass(frozen=True)
class Outage:
    """An Alice who is away for a while; her Bobs move to others."""

    alice: int
    from_s: float
    to_s: float


@dataclass(frozen=True)
class Scenario:
    """`target_share`: a Bob wants Alice below this share of his store (1: whenever not full)."""

    bobs: tuple[Bob, ...]
    policy: Callable[[], Policy]
    alices: int = 1
    days: float = 15.0
    warm_up_days: float = 1.0
    transfers: Transfers | None = None
    """None: a steady demand."""
    bursts: Bursts | None = None
    key_lifetime_s: float | None = None
    initialisation_failure: float = 0.0
    """Probability that a set-up ends without keys."""
    target_share: float = 1.0
    outages: tuple[Outage, ...] = ()
    seed: int = 0
    record: bool = field(default=True)
    """Keep turns and levels for the pictures."""

    def __post_init__(self) -> None:
        wrong = ""
        if not self.bobs or len({bob.name for bob in self.bobs}) != len(self.bobs):
            wrong = "there is no Bob, or two have the same name"
        elif self.alices < 1:
            wrong = "there is no Alice"
        elif not 0 <= self.warm_up_days < self.days:
            wrong = "nothing is left to count after the days that do not count"
        elif not 0 <= self.initialisation_failure < 1:
            wrong = "set-ups never succeed"
        elif self.key_lifetime_s is not None and self.key_lifetime_s <= 0:
            wrong = "keys expire at once"
        elif not 0 < self.target_share <= 1:
            wrong = "the target level is no share of a store"
        if wrong:
            raise DemandError(
                f"this cannot be simulated: {wrong}",
                next_step="See `qnfv schedule simulate --help`.",
            )
