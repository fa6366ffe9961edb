"""Cyclic plans: their intervals are steady, their stores suffice, and the search finds better."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd_scheduler.bounds import Lot, largest_factor, longest_cycle_s
from qkd_scheduler.policies import cycle


def bobs(*rows: tuple[float, float, float]) -> tuple[Lot, ...]:
    """Rate, set-up and hours of store, all with the same demand of 20 b/s."""
    return tuple(Lot(20, rate, set_up_s, hours * 3600 * 20) for rate, set_up_s, hours in rows)


MIXED = bobs((2400, 450, 6), (700, 680, 20), (130, 1200, 24), (1400, 540, 9))

some_bobs = st.lists(
    st.builds(
        Lot,
        demand_bps=st.floats(1, 30),
        rate_bps=st.floats(200, 4000),
        set_up_s=st.floats(100, 1300),
        capacity_bit=st.floats(5e5, 5e6),
    ),
    min_size=2,
    max_size=5,
).map(tuple)


def replayed_s(visits: tuple[int, ...], dwell_s: list[float], lots: tuple[Lot, ...]) -> list[float]:
    """Walk along three rounds; the time from each visit's first key to its Bob's next."""
    begins: list[tuple[int, float]] = []
    now_s = 0.0
    for _ in range(3):
        for visit, dwell in zip(visits, dwell_s, strict=True):
            now_s += lots[visit].set_up_s
            begins.append((visit, now_s))
            now_s += dwell
    result = []
    for k, visit in enumerate(visits):
        later = next(at_s for bob, at_s in begins[k + 1 :] if bob == visit)
        result.append(later - begins[k][1])
    return result


def test_common_cycle_has_the_closed_form() -> None:
    interval_s = cycle.intervals_s((0, 1, 2, 3), MIXED)
    set_ups_s = sum(lot.set_up_s for lot in MIXED)
    utilisation = sum(lot.utilisation for lot in MIXED)
    assert interval_s == pytest.approx([set_ups_s / (1 - utilisation)] * 4)


@given(some_bobs, st.data())
def test_intervals_are_those_of_a_walk_along_the_sequence(
    lots: tuple[Lot, ...], data: st.DataObject
) -> None:
    lots = tuple(lot.scaled(0.9 / sum(o.utilisation for o in lots)) for lot in lots)
    extra = data.draw(st.lists(st.integers(0, len(lots) - 1), max_size=6))
    visits = tuple(data.draw(st.permutations([*range(len(lots)), *extra])))
    interval_s = cycle.intervals_s(visits, lots)
    dwell_s = [lots[i].utilisation * t for i, t in zip(visits, interval_s, strict=True)]
    assert replayed_s(visits, dwell_s, lots) == pytest.approx(list(interval_s), rel=1e-6)


def test_overload_has_no_steady_cycle() -> None:
    assert np.isinf(cycle.intervals_s((0, 1), bobs((30, 400, 6), (25, 400, 6)))).all()
    assert cycle.largest_factor_of((0, 1), bobs((30, 400, 6), (25, 400, 6)), at_least=1.0) == 0


@settings(max_examples=8, deadline=None)
@given(some_bobs)
def test_a_plan_serves_what_it_says_and_never_beats_the_bound(lots: tuple[Lot, ...]) -> None:
    plan = cycle.plan_cycle(lots)
    assert set(plan.visits) == set(range(len(lots)))
    assert plan.factor <= largest_factor(lots) * (1 + 1e-6)
    assert plan.factor >= cycle.largest_factor_of(tuple(range(len(lots))), lots) * (1 - 1e-6)
    at = [lot.scaled(plan.factor) for lot in lots]
    for bob, interval_s in zip(plan.visits, plan.interval_s, strict=True):
        assert interval_s <= longest_cycle_s(at[bob]) * (1 + 1e-6)


def test_a_small_store_is_visited_more_often_than_in_the_common_cycle() -> None:
    lots = bobs((2000, 500, 3), (2000, 500, 24), (2000, 500, 24), (160, 900, 24))
    plan = cycle.plan_cycle(lots)
    assert plan.visits.count(0) > plan.visits.count(1)
    assert plan.factor > 1.02 * cycle.largest_factor_of((0, 1, 2, 3), lots)


def test_plans_repeat() -> None:
    first = cycle.plan_cycle(MIXED)
    cycle.plan_cycle.cache_clear()
    assert cycle.plan_cycle(MIXED) == first
