"""The double exponential: known curves come back, and R² says how good it is."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.fig2.fit import curve_s, double_exponential

KM = [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]


def known_s(km: float) -> float:
    """Through both printed points of the paper."""
    return 295.58 * math.exp(-0.006145 * km) + 104.42 * math.exp(0.0908312 * km)


def test_a_known_curve_is_recovered() -> None:
    fit = double_exponential(KM, [known_s(km) for km in KM])
    assert fit is not None
    assert fit.amplitudes_s == pytest.approx((295.58, 104.42), rel=1e-3)
    assert fit.rates_per_km == pytest.approx((-0.006145, 0.0908312), rel=1e-3)
    assert fit.r_squared == pytest.approx(1.0, abs=1e-10)
    assert curve_s(fit, [0, 25]) == pytest.approx([400.0, 1265.0], abs=0.1)


def test_r_squared_is_the_share_of_the_variance_that_the_curve_explains() -> None:
    dice = random.Random(1)
    measured = [known_s(km) + dice.gauss(0, 20) for km in KM]
    fit = double_exponential(KM, measured)
    assert fit is not None
    mean = sum(measured) / len(measured)
    missed = sum((m - c) ** 2 for m, c in zip(measured, curve_s(fit, KM), strict=True))
    assert fit.r_squared == pytest.approx(
        1 - missed / sum((m - mean) ** 2 for m in measured), abs=1e-5
    )
    assert 0.98 < fit.r_squared < 0.99999
    # Least squares: the curve that made the points cannot be nearer to them.
    assert missed <= sum((m - known_s(km)) ** 2 for m, km in zip(measured, KM, strict=True))


@settings(max_examples=30, deadline=None)
@given(st.floats(50, 500), st.floats(50, 500), st.floats(-0.05, 0.01), st.floats(0.05, 0.12))
def test_any_such_curve_is_met_at_its_points(a1: float, a2: float, b1: float, b2: float) -> None:
    measured = [a1 * math.exp(b1 * km) + a2 * math.exp(b2 * km) for km in KM]
    fit = double_exponential(KM, measured)
    assert fit is not None
    assert curve_s(fit, KM) == pytest.approx(measured, rel=1e-3)


def test_four_points_are_too_few() -> None:
    assert double_exponential(KM[:4], [known_s(km) for km in KM[:4]]) is None
