"""Bounds against closed forms, and against what no schedule could do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkd_scheduler.bounds import (
    Lot,
    interrupted_load,
    largest_common_demand_bps,
    largest_factor,
    largest_interrupted_factor,
    load,
    longest_cycle_s,
    longest_interrupted_cycle_s,
    without_set_ups_bps,
)
from qkd_scheduler.errors import DemandError

LAB_RATES = (2454.0, 727.0, 100.0)

lots = st.lists(
    st.builds(
        Lot,
        demand_bps=st.floats(0.1, 50),
        rate_bps=st.floats(100, 4000),
        set_up_s=st.floats(0, 1300),
        capacity_bit=st.floats(1e5, 1e8),
    ),
    min_size=1,
    max_size=8,
)


def test_longest_cycle_is_from_empty_to_full_and_empty_again() -> None:
    lot = Lot(demand_bps=20, rate_bps=100, set_up_s=0, capacity_bit=8000)
    assert longest_cycle_s(lot) == pytest.approx(8000 / (100 - 20) + 8000 / 20)


def test_one_bob_without_set_up_gets_his_whole_rate() -> None:
    assert largest_common_demand_bps([Lot(1, 1000, 0, 1e6)]) == pytest.approx(1000)


def test_without_set_ups_the_bound_is_the_harmonic_sum_of_the_lab() -> None:
    assert without_set_ups_bps(LAB_RATES) == pytest.approx(84.9, abs=0.1)
    free = [Lot(1, rate, 0, 1e6) for rate in LAB_RATES]
    assert largest_common_demand_bps(free) == pytest.approx(without_set_ups_bps(LAB_RATES))


def test_two_equal_bobs_solve_the_quadratic_by_hand() -> None:
    # 2 (s d (1 - d/R) / B + d/R) = 1 with s = 1000 s, R = 100 b/s, B = 1e6 bit.
    bound = largest_common_demand_bps([Lot(1, 100, 1000, 1e6)] * 2)
    assert 2 * (1000 * bound * (1 - bound / 100) / 1e6 + bound / 100) == pytest.approx(1)
    assert 47 < bound < 48


@given(lots)
def test_at_the_bound_alices_time_is_full_and_less_demand_fits(each: list[Lot]) -> None:
    factor = largest_factor(each)
    at = [lot.scaled(factor) for lot in each]
    utilisation = sum(lot.utilisation for lot in at)
    assert utilisation <= 1 + 1e-9
    if utilisation < 1 - 1e-9:
        assert load(at) == pytest.approx(1, rel=1e-6)
    for share in (0.1, 0.5, 0.9, 0.999):
        assert load([lot.scaled(factor * share) for lot in each]) <= 1 + 1e-9


@given(lots, st.floats(1.1, 10))
def test_larger_stores_and_shorter_set_ups_never_lower_the_bound(
    each: list[Lot], times: float
) -> None:
    factor = largest_factor(each)
    larger = [Lot(x.demand_bps, x.rate_bps, x.set_up_s, x.capacity_bit * times) for x in each]
    quicker = [Lot(x.demand_bps, x.rate_bps, x.set_up_s / times, x.capacity_bit) for x in each]
    assert largest_factor(larger) >= factor * (1 - 1e-9)
    assert largest_factor(quicker) >= factor * (1 - 1e-9)


@given(lots, lots)
def test_another_bob_never_raises_the_bound(each: list[Lot], more: list[Lot]) -> None:
    assert largest_factor(each + more) <= largest_factor(each) * (1 + 1e-9)


@given(lots)
def test_the_sharper_bound_is_sharper(each: list[Lot]) -> None:
    assert largest_interrupted_factor(each) <= largest_factor(each)
    assert interrupted_load(each) >= load(each) - 1e-12


def test_a_slow_bob_is_interrupted_by_a_small_store() -> None:
    slow, small = Lot(80, 100, 1265, 1e9), Lot(80, 2454, 452, 80 * 3600.0)
    # His turn must fit into the hour that the other's store lasts, less both set-ups.
    assert longest_interrupted_cycle_s([slow, small], 0) == pytest.approx((3600 - 452 - 1265) / 0.8)
    assert largest_interrupted_factor([slow, small]) < largest_factor([slow, small])


def test_no_demand_has_no_bound() -> None:
    assert math.isinf(largest_factor([Lot(0, 100, 400, 1e6)]))
    assert load([Lot(0, 100, 400, 1e6)]) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        (-1, 100, 400, 1e6),
        (1, 0, 400, 1e6),
        (1, 100, -1, 1e6),
        (1, 100, 400, 0),
        (math.nan, 100, 400, 1e6),
        (1, math.inf, 400, 1e6),
    ],
)
def test_absurd_bobs_are_refused(wrong: tuple[float, float, float, float]) -> None:
    with pytest.raises(DemandError) as caught:
        Lot(*wrong)
    assert caught.value.next_step


def test_a_bob_without_keys_is_refused() -> None:
    with pytest.raises(DemandError):
        without_set_ups_bps([100, 0])
