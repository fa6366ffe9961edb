"""A short run of the fuzz target, so that it cannot rot."""

from __future__ import annotations

import random

import fuzz_idq3p


def test_a_thousand_datagrams_without_a_finding() -> None:
    dice = random.Random(1)
    for _ in range(1000):
        fuzz_idq3p.try_once(dice)
