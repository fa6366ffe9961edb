"""Policies that know demands: who comes next, for how long, and what they do without knowledge."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd_scheduler.errors import DemandError
from qkd_scheduler.policies import KEY_BIT, BobView, Deadline, Policy
from qkd_scheduler.policies.catalogue import NAMES, named
from qkd_scheduler.policies.forecast import forecast
from qkd_scheduler.policies.lot_sizing import LotSizing
from qkd_scheduler.policies.proportional import Proportional
from qkd_scheduler.policies.run_out import RunOut


def bob(
    link: str,
    level: int = 4000,
    *,
    demand: float = 20.0,
    rate: float | None = 1000.0,
    set_up: float | None = 500.0,
    last: int = 0,
    **more: object,
) -> BobView:
    view = BobView(link, level, 8000, 8000, 0, last, demand, rate, set_up)
    return replace(view, **more)


ALL = [pytest.param(named(name), id=name) for name in NAMES]
WISE = [pytest.param(policy, id=type(policy).__name__) for policy in (LotSizing(), RunOut())]

views = st.lists(
    st.builds(
        BobView,
        link=st.uuids().map(str),
        level_keys=st.integers(0, 9000),
        target_keys=st.integers(0, 8000),
        capacity_keys=st.integers(1, 8000),
        waiting_deployments=st.integers(0, 3),
        last_served=st.integers(0, 50),
        demand_bps=st.floats(0, 1000),
        rate_bps=st.none() | st.floats(1, 4000),
        set_up_s=st.none() | st.floats(0, 2000),
        deadlines=st.lists(
            st.builds(Deadline, st.integers(1, 10**6), st.floats(0, 1e6)), max_size=2
        ).map(tuple),
        available=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda view: view.link,
)


@pytest.mark.parametrize("policy", ALL)
@pytest.mark.parametrize("demand_bps", [5e-324, 1e-300, 1e-9])
def test_a_demand_next_to_nothing_is_none(policy: Policy, demand_bps: float) -> None:
    view = BobView("a", 0, 0, 1, 1, 0, demand_bps)
    choice = policy([view])
    assert choice is not None
    assert choice.link == "a"


@pytest.mark.parametrize("policy", ALL)
@settings(max_examples=25, deadline=None)
@given(seen=views)
def test_whoever_is_chosen_is_there_and_has_room(policy: Policy, seen: list[BobView]) -> None:
    choice = policy(seen)
    wanted = [view for view in seen if view.available and view.wants_alice]
    if choice is None:
        assert not wanted
        return
    chosen = next(view for view in seen if view.link == choice.link)
    assert chosen.available
    assert chosen.level_keys < chosen.capacity_keys or chosen.waiting_deployments > 0
    assert choice.dwell_s >= 60
    assert policy(seen) == choice


@pytest.mark.parametrize("policy", ALL)
def test_nobody_is_served_who_needs_nothing(policy: Policy) -> None:
    assert policy([]) is None
    assert policy([bob("full", 8000), bob("enough", 5000, target_keys=4000)]) is None


@pytest.mark.parametrize("policy", WISE)
def test_who_is_about_to_run_dry_comes_first(policy: Policy) -> None:
    seen = [bob("a", last=1), bob("b", 60, last=2), bob("c", last=0)]
    choice = policy(seen)
    assert choice is not None
    assert choice.link == "b"


def test_run_out_leaves_before_the_next_one_is_dry() -> None:
    # 400 keys at 20 b/s last 5120 s, and his set-up takes 500 s.
    choice = RunOut()([bob("a", 100, last=1, rate=60.0), bob("b", 400, last=2)])
    assert choice is not None
    assert choice.link == "a"
    assert choice.dwell_s <= 400 * KEY_BIT / 20 - 2 * 500


def test_lot_sizing_gets_out_of_a_tight_corner_without_anyone_running_dry() -> None:
    seen = [bob("a", 100, last=1, rate=60.0), bob("b", 400, last=2), bob("c", 900)]
    ahead = forecast(LotSizing(), seen, 2 * 86_400.0)
    assert set(ahead.dry_in_s.values()) == {None}
    assert {turn.link for turn in ahead.turns} == {"a", "b", "c"}


def test_proportional_dwells_follow_demand_over_rate() -> None:
    seen = [
        bob("a", 0, last=1, demand=200.0, rate=1000.0),
        bob("b", 0, last=2, demand=375.0, rate=500.0),
    ]
    first = Proportional()(seen)
    second = Proportional()([replace(seen[0], last_served=3), seen[1]])
    assert first is not None
    assert second is not None
    assert (first.link, second.link) == ("a", "b")
    assert second.dwell_s == pytest.approx(375 / 500 / (200 / 1000) * first.dwell_s)


def test_who_waits_is_served_at_once_and_the_nearest_keys_first() -> None:
    seen = [
        bob("far", 0, rate=100.0, set_up=1265.0, waiting_deployments=1),
        bob("near", 0, rate=2454.0, set_up=452.0, waiting_deployments=1),
        bob("dry", 0),
    ]
    choice = LotSizing()(seen)
    assert choice is not None
    assert choice.link == "near"


def test_several_dry_bobs_share_short_turns() -> None:
    long = LotSizing()([bob("a", 10, last=1), bob("b", 8000), bob("c", 7900)])
    short = LotSizing()([bob("a", 0, last=1), bob("b", 0), bob("c", 0)])
    assert long is not None
    assert short is not None
    assert short.dwell_s <= 1500 < long.dwell_s


def test_a_deadline_draws_alice_in_time() -> None:
    promised = bob("p", 4000, last=3, deadlines=(Deadline(6000 * KEY_BIT, 3600.0),))
    seen = [promised, bob("a", 3000, last=1), bob("b", 3100, last=2)]
    ahead = forecast(LotSizing(), seen, 8000)
    assert not ahead.broken
    without = [replace(promised, deadlines=()), *seen[1:]]
    lazy = LotSizing()(without)
    assert lazy is not None
    assert lazy.link != "p"


def test_without_any_knowledge_the_emptiest_pools_are_filled() -> None:
    seen = [BobView("a", 0, 64, 4096, 0, 0), BobView("b", 4000, 64, 4096, 0, 0)]
    choice = LotSizing()(seen)
    assert choice is not None
    assert choice.link == "a"
    assert choice.dwell_s < 4096 * KEY_BIT / 50


def test_unavailable_bobs_are_passed_over() -> None:
    seen = [bob("a", 0, available=False), bob("b", 7000)]
    for name in NAMES:
        choice = named(name)(seen)
        assert choice is not None
        assert choice.link == "b"


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DemandError, match="lot_sizing"):
        named("best")


# --- forecasts ------------------------------------------------------------------------------------


def test_a_forecast_finishes_the_present_turn_first() -> None:
    seen = [bob("a", 1000, turn_ends_in_s=900.0, last=3), bob("b", 2000, last=2)]
    ahead = forecast(LotSizing(), seen, 20_000)
    assert ahead.turns[0].link == "a"
    assert ahead.turns[0].ends_in_s == pytest.approx(900)
    assert ahead.turns[0].gained_bit == pytest.approx(900 * 1000, rel=0.01)
    assert ahead.refill_in_s("b") == pytest.approx(900 + 500)
    for earlier, later in zip(ahead.turns, ahead.turns[1:], strict=False):
        assert later.starts_in_s >= earlier.ends_in_s


def test_a_forecast_says_when_a_pool_runs_dry() -> None:
    ahead = forecast(lambda bobs: None, [bob("a", 100), bob("b", 8000, demand=0.0)], 50_000)
    assert ahead.turns == ()
    assert ahead.dry_in_s["a"] == pytest.approx(100 * KEY_BIT / 20)
    assert ahead.dry_in_s["b"] is None
    assert ahead.refill_in_s("a") is None


def test_a_forecast_marks_a_broken_promise() -> None:
    wish = Deadline(5000 * KEY_BIT, 100.0)
    ahead = forecast(LotSizing(), [bob("a", 100, deadlines=(wish,))], 5_000)
    assert ahead.broken == (("a", wish),)
