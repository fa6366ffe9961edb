"""Key rate, error rate and initialisation time of a plug-and-play BB84 link over its loss.

Weak coherent pulses whose mean photon number follows the line's transmission; the detectors' noise
and Bob's own loss are trusted. Device constants come from the published factory report of one unit
(CQP toolkit). Three parameters are fitted to the published results of Aguado et al., ECOC 2016:
4 kb/s back to back, 0.1 kb/s and a QBER of 5.3 % at 25 km. The vendor's own privacy amplification
is not public; nothing here claims to be it.

The loss given to these functions is that of the whole line, switch passages included. Back to back
it is 1.548 dB, which stands for exactly one passage. No key is left beyond 7.34 dB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PULSE_RATE_HZ: Final = 5e6
PULSES_PER_TRAIN: Final = 1075
DELAY_LINE_KM: Final = 23.7
LIGHT_IN_FIBRE_KM_PER_S: Final = 2.0427e5
BOB_LOSS_DB: Final = 4.42
"""Bob's long path and his circulator."""
DETECTOR_EFFICIENCY: Final = 0.08265
DARK_COUNT_PROBABILITY: Final = 1.22e-4
"""Per gate, both detectors."""
DEAD_TIME_S: Final = 10e-6
VISIBILITY: Final = 0.99325

FITTED_BACK_TO_BACK_LOSS_DB: Final = 1.5481
FITTED_KAPPA: Final = 0.7509
FITTED_SIFTING_EFFICIENCY: Final = 0.8477
ERROR_CORRECTION_FACTOR: Final = 1.10

FIXED_INITIALISATION_S: Final = 299.14
FIRST_BUFFER_BIT: Final = 731_973
"""Sifted bits that the first distillation waits for."""


class InitialisationModel(StrEnum):
    """How long the first raw exchange takes.

    `PHYSICAL`: until the first buffer is sifted, so it follows the loss of the real path.
    `PAPER`: the closed form through the two published points, which knows the distance alone.
    """

    PHYSICAL = "physical"
    PAPER = "paper"


@dataclass(frozen=True, slots=True)
class Line:
    """What a unit works with on a line of `loss_db` (switches included) and `fibre_km`."""

    loss_db: float
    fibre_km: float
    mean_photon_number: float
    sifted_rate_bps: float
    qber: float
    multi_photon_share: float

    @property
    def secret_key_rate_bps(self) -> float:
        return self.sifted_rate_bps * self.secret_fraction(self.qber)

    def secret_fraction(self, qber: float) -> float:
        """Secret bits per sifted bit at a measured error rate; 0 when none are left."""
        entropy = binary_entropy(qber)
        left = (1 - self.multi_photon_share) * (1 - entropy) - ERROR_CORRECTION_FACTOR * entropy
        return max(0.0, left)


def line(loss_db: float, fibre_km: float) -> Line:
    """The line's working point. `ValueError` for a negative loss or length."""
    if not (loss_db >= 0 and fibre_km >= 0):
        raise ValueError("loss and length of a line are not negative")
    transmission = 10 ** (-loss_db / 10)
    mean_photon_number = FITTED_KAPPA * transmission
    bob_transmission = 10 ** (-BOB_LOSS_DB / 10)
    signal = -math.expm1(
        -mean_photon_number * transmission * bob_transmission * DETECTOR_EFFICIENCY
    )
    click = signal + DARK_COUNT_PROBABILITY
    sifted = (
        0.5
        * PULSE_RATE_HZ
        * _duty_cycle(fibre_km)
        * click
        * FITTED_SIFTING_EFFICIENCY
        / (1 + PULSE_RATE_HZ * click * DEAD_TIME_S)
    )
    qber = ((1 - VISIBILITY) / 2 * signal + DARK_COUNT_PROBABILITY / 2) / click
    return Line(
        loss_db,
        fibre_km,
        mean_photon_number,
        sifted,
        qber,
        _multi_photon_share(mean_photon_number, transmission),
    )


def _duty_cycle(fibre_km: float) -> float:
    """Share of time in which pulses run: a train must come back before the next one leaves."""
    train_s = PULSES_PER_TRAIN / PULSE_RATE_HZ
    return train_s / (train_s + 2 * (fibre_km + DELAY_LINE_KM) / LIGHT_IN_FIBRE_KM_PER_S)


def _multi_photon_share(mean_photon_number: float, transmission: float) -> float:
    """Share of Bob's signals that an eavesdropper could know entirely (photon-number splitting)."""
    arriving = -math.expm1(-mean_photon_number * transmission)
    if arriving <= 0.0:
        return 1.0
    several = -math.expm1(-mean_photon_number) - mean_photon_number * math.exp(-mean_photon_number)
    return min(1.0, several / arriving)


def binary_entropy(share: float) -> float:
    """Entropy in bit of a coin that falls on one side with probability `share`."""
    if share <= 0.0 or share >= 1.0:
        return 0.0
    return -share * math.log2(share) - (1 - share) * math.log2(1 - share)


def initialisation_s(at: Line, model: InitialisationModel = InitialisationModel.PHYSICAL) -> float:
    """QKD seconds from the first light to the first keys (400 s at 0 km, 1265 s at 25 km)."""
    if model is InitialisationModel.PAPER:
        return 295.58 * math.exp(-0.006145 * at.fibre_km) + 104.42 * math.exp(
            0.0908312 * at.fibre_km
        )
    return FIXED_INITIALISATION_S + FIRST_BUFFER_BIT / at.sifted_rate_bps
