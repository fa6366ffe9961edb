"""What a unit's physics are made of: the link model, and the scatter of single blocks.

The model itself (key rate, error rate, initialisation time over the loss) stands in
`qkd_scheduler.link_model`, since the scheduler's simulation works with it too.
"""

from __future__ import annotations

import math
from random import Random

from qkd_scheduler.link_model import (
    FIXED_INITIALISATION_S,
    VISIBILITY,
    InitialisationModel,
    Line,
    initialisation_s,
    line,
)

__all__ = [
    "FIXED_INITIALISATION_S",
    "VISIBILITY",
    "InitialisationModel",
    "Line",
    "binomial",
    "initialisation_s",
    "line",
    "poisson",
]


def poisson(random: Random, mean: float) -> int:
    """A Poisson count; normal approximation above 1000, where it errs by less than a count."""
    if mean > 1000:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    count = 0
    # In slices, since exp(-mean) would underflow.
    while mean > 0:
        slice_mean = min(mean, 50.0)
        mean -= slice_mean
        limit, product = math.exp(-slice_mean), random.random()
        while product > limit:
            count += 1
            product *= random.random()
    return count


def binomial(random: Random, trials: int, share: float) -> int:
    """How many of `trials` come out with probability `share`."""
    share = min(1.0, max(0.0, share))
    mean, variance = trials * share, trials * share * (1 - share)
    if variance > 100:
        return min(trials, max(0, round(random.gauss(mean, math.sqrt(variance)))))
    if mean * 2 > trials:
        return trials - binomial(random, trials, 1 - share)
    if mean < 1e-300:
        return 0
    # Distances between successes are geometric; their number is small here.
    successes, position = 0, 0
    log_failure = math.log1p(-share)
    while True:
        position += int(math.log(1.0 - random.random()) / log_failure) + 1
        if position > trials:
            return successes
        successes += 1
