"""The simulation against closed forms, its conservation laws, and the same again by seed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd_scheduler.bounds import largest_common_demand_bps, largest_factor
from qkd_scheduler.errors import DemandError
from qkd_scheduler.policies import BobView, Choice
from qkd_scheduler.policies.catalogue import NAMES, named
from qkd_scheduler.policies.lot_sizing import LotSizing
from qkd_scheduler.policies.proportional import Proportional
from qkd_scheduler.simulation import (
    Bob,
    Bursts,
    Outage,
    Scenario,
    Transfers,
    bob_at,
    simulate,
)
from qkd_scheduler.simulation.pool import SimulatedPool

DAY_S = 86_400.0


def lab(demand_bps: float = 60.0) -> tuple[Bob, ...]:
    capacity_bit = 12 * 3600 * 85.0
    return tuple(
        bob_at(f"{km} km", km, capacity_bit=capacity_bit, demand_bps=demand_bps)
        for km in (5, 15, 25)
    )


# --- pools ----------------------------------------------------------------------------------------


def test_a_pool_is_exact_between_events() -> None:
    pool = SimulatedPool(1000, 400, 2.0, None)
    pool.pass_to(300)
    assert pool.level_bit == 0
    assert pool.short_bit == pytest.approx(200)
    pool.rate_bps = 12.0
    pool.pass_to(420)
    assert pool.level_bit == pytest.approx(1000)
    assert pool.overflow_bit == pytest.approx(200)
    assert pool.gained_bit == pytest.approx(1000 + 240)


@given(
    st.lists(st.tuples(st.floats(1, 5000), st.floats(0, 50)), min_size=1, max_size=20),
    st.floats(0, 20),
    st.none() | st.floats(10, 20_000),
)
def test_no_bit_is_lost_unaccounted(
    steps: list[tuple[float, float]], demand_bps: float, lifetime_s: float | None
) -> None:
    pool = SimulatedPool(50_000, 20_000, demand_bps, lifetime_s)
    for span_s, rate_bps in steps:
        pool.rate_bps = rate_bps
        pool.pass_to(pool.at_s + span_s)
        assert 0 <= pool.level_bit <= pool.capacity_bit
    served_bit = pool.asked_bit - pool.short_bit
    gone_bit = served_bit + pool.expired_bit + pool.level_bit
    assert 20_000 + pool.gained_bit == pytest.approx(gone_bit, rel=1e-6, abs=1e-3)


def test_unused_keys_expire_after_their_lifetime_and_no_sooner() -> None:
    pool = SimulatedPool(10_000, 1000, 0.0, 3600)
    pool.pass_to(3599)
    assert pool.level_bit == 1000
    pool.pass_to(3601)
    assert pool.level_bit == 0
    assert pool.expired_bit == 1000


def test_the_oldest_keys_go_first_so_a_busy_pool_loses_none() -> None:
    pool = SimulatedPool(10_000, 1000, 1.0, 3600)
    pool.rate_bps = 1.0
    for _ in range(10):
        pool.pass_to(pool.at_s + 2000)
    assert pool.expired_bit == 0
    assert pool.level_bit == pytest.approx(1000)


def test_a_steady_surplus_expires_at_its_own_rate() -> None:
    pool = SimulatedPool(1e6, 0, 1.0, 1000)
    pool.rate_bps = 3.0
    pool.pass_to(100_000)
    # What is made in a lifetime is what can be there; of 3 b/s made, 1 is used and 2 expire.
    assert pool.level_bit == pytest.approx(3000)
    assert pool.expired_bit == pytest.approx(2 * (100_000 - 1000) - 1000 + 0, rel=0.02)


# --- schedules ------------------------------------------------------------------------------------


def test_rates_and_set_ups_over_distance_are_the_published_ones() -> None:
    near, far = lab()[0], lab()[2]
    assert bob_at("0", 0, capacity_bit=1e6, demand_bps=1).rate_bps == pytest.approx(4000, rel=0.02)
    assert bob_at("0", 0, capacity_bit=1e6, demand_bps=1).set_up_s == pytest.approx(400, rel=0.02)
    assert far.rate_bps == pytest.approx(100, rel=0.02)
    assert far.set_up_s == pytest.approx(1265, rel=0.02)
    assert near.rate_bps > far.rate_bps


def test_equal_slots_give_what_their_share_of_the_cycle_gives() -> None:
    bobs = lab(demand_bps=1000.0)
    slot_s = 7200.0
    outcome = simulate(
        Scenario(bobs, partial(named, "sequential", slot_s=slot_s), days=60, warm_up_days=2)
    )
    cycle_s = 3 * slot_s + sum(bob.set_up_s for bob in bobs)
    for bob in outcome.bobs:
        served_bps = (bob.asked_bit - bob.short_bit) / outcome.counted_s
        # The nearest one makes more than his store holds; then the store is what he gets.
        made_bps = bob.rate_bps * slot_s / cycle_s
        if made_bps < 1000 and bob.overflow_bit == 0:
            assert served_bps == pytest.approx(made_bps, rel=0.02)
    assert outcome.bobs[2].overflow_bit == 0
    assert outcome.set_up_share == pytest.approx(
        sum(bob.set_up_s for bob in bobs) / cycle_s, rel=0.02
    )


def test_the_common_cycle_serves_its_closed_form() -> None:
    bobs = lab()
    bound_bps = largest_common_demand_bps([bob.lot() for bob in bobs])
    for share, served in ((0.95, True), (1.05, False)):
        at = tuple(replace(bob, demand_bps=share * bound_bps) for bob in bobs)
        outcome = simulate(Scenario(at, Proportional, days=20, record=False))
        assert (outcome.worst_shortfall < 1e-3) == served


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 24), st.floats(6, 24)), min_size=2, max_size=4, unique=True),
    st.sampled_from(NAMES),
)
def test_nobody_serves_more_than_the_bound(shapes: list[tuple[float, float]], policy: str) -> None:
    bobs = [
        bob_at(str(i), km, capacity_bit=h * 1e5, demand_bps=1) for i, (km, h) in enumerate(shapes)
    ]
    factor = largest_factor([bob.lot() for bob in bobs])
    # 3 % above the bound, long enough for what the full stores lend at the start to be gone.
    beyond = tuple(replace(bob, demand_bps=1.03 * factor) for bob in bobs)
    lent_days = max(bob.capacity_bit for bob in beyond) / (0.03 * factor) / DAY_S
    days = min(400.0, 2 * lent_days + 2)
    outcome = simulate(Scenario(beyond, partial(named, policy), days=days, record=False))
    assert outcome.worst_shortfall > 1e-3


def test_lot_sizing_serves_96_percent_of_the_bound_on_the_lab() -> None:
    bobs = lab()
    bound_bps = largest_common_demand_bps([bob.lot() for bob in bobs])
    at = tuple(replace(bob, demand_bps=0.96 * bound_bps) for bob in bobs)
    outcome = simulate(Scenario(at, LotSizing, days=60, record=False))
    assert outcome.worst_shortfall < 1e-3


def test_turns_of_an_alice_never_overlap_and_shared_fibres_exclude_each_other() -> None:
    shared = frozenset({"duct 1"})
    bobs = tuple(replace(bob, resources=shared) for bob in lab(30.0)) + tuple(
        replace(bob, name=f"other {bob.name}") for bob in lab(30.0)
    )
    outcome = simulate(Scenario(bobs, LotSizing, alices=2, days=5, warm_up_days=0))
    turns = sorted(outcome.turns, key=lambda turn: turn.start_s)
    assert {turn.alice for turn in turns} == {0, 1}
    groups = [[turn for turn in turns if turn.alice == alice] for alice in (0, 1)]
    groups.append([turn for turn in turns if not turn.bob.startswith("other")])
    for group in groups:
        assert all(later.start_s >= earlier.end_s for earlier, later in pairwise(group))


def test_a_policy_that_rests_lets_pools_fall_to_their_target() -> None:
    outcome = simulate(Scenario(lab(20.0), LotSizing, days=10, target_share=0.5, warm_up_days=0))
    assert outcome.worst_shortfall == 0
    busy = simulate(Scenario(lab(20.0), LotSizing, days=10, warm_up_days=0))
    assert outcome.generating_share + outcome.set_up_share < 0.9
    assert sum(b.turns for b in outcome.bobs) < sum(b.turns for b in busy.bobs)


def test_failed_set_ups_cost_time_and_are_counted() -> None:
    outcome = simulate(Scenario(lab(40.0), LotSizing, days=30, initialisation_failure=0.2))
    turns = sum(bob.turns for bob in outcome.bobs)
    assert 0.1 < outcome.failed_turns / turns < 0.3
    assert sum(turn.failed for turn in outcome.turns) >= outcome.failed_turns
    assert outcome.worst_shortfall < 0.01


def test_single_transfers_find_their_keys_or_wait() -> None:
    calm = simulate(Scenario(lab(40.0), LotSizing, transfers=Transfers(50_000), days=20))
    for bob in calm.bobs:
        assert len(bob.waits_s) == pytest.approx(40 * 19 * DAY_S / 50_000, rel=0.15)
    assert calm.shortfall < 0.01
    crowded = simulate(Scenario(lab(120.0), LotSizing, transfers=Transfers(50_000), days=20))
    assert crowded.shortfall > 0.2
    assert max(max(bob.waits_s) for bob in crowded.bobs) > 3600


def test_promises_are_kept() -> None:
    pads = Bursts(bits=1.5e6, due_in_s=12 * 3600, every_s=24 * 3600)
    outcome = simulate(Scenario(lab(15.0), LotSizing, bursts=pads, days=12))
    admitted = [pledge for pledge in outcome.pledges if pledge.promised_s is not None]
    refused = [pledge for pledge in outcome.pledges if pledge.promised_s is None]
    assert len(admitted) > 10
    assert outcome.kept_share == 1.0
    assert all(pledge.promised_s <= pledge.due_s for pledge in admitted)
    assert all(p.earliest_s is None or p.earliest_s > p.due_s for p in refused)


def test_bobs_of_an_absent_alice_move_and_come_back_served() -> None:
    outcome = simulate(
        Scenario(
            lab(10.0),
            LotSizing,
            alices=2,
            days=6,
            outages=(Outage(0, 2 * DAY_S, 3 * DAY_S),),
        )
    )
    assert outcome.moves > 0
    away = [t for t in outcome.turns if t.alice == 0 and 2 * DAY_S <= t.start_s < 3 * DAY_S]
    assert away == []
    assert outcome.worst_shortfall == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_outcome_and_another_one_does_not(name: str) -> None:
    scenario = Scenario(
        lab(50.0),
        partial(named, name),
        transfers=Transfers(100_000),
        initialisation_failure=0.1,
        days=4,
        seed=7,
    )
    assert simulate(scenario) == simulate(scenario)
    assert simulate(replace(scenario, seed=8)) != simulate(scenario)


def test_a_policy_is_told_the_truth() -> None:
    seen: list[BobView] = []

    def watch(bobs: object) -> Choice | None:
        seen.extend(bobs)
        return None

    simulate(Scenario(lab(50.0)[:1], lambda: watch, days=0.05, warm_up_days=0))
    for view in seen:
        assert view.rate_bps == pytest.approx(2453, rel=0.01)
        assert view.demand_bps == 50
    levels = [view.level_keys for view in seen]
    assert levels == sorted(levels, reverse=True)
    assert len(set(levels)) > 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"bobs": ()},
        {"bobs": (lab()[0], lab()[0])},
        {"alices": 0},
        {"days": 1.0, "warm_up_days": 1.0},
        {"initialisation_failure": 1.0},
        {"key_lifetime_s": 0.0},
        {"target_share": 0.0},
    ],
)
def test_absurd_scenarios_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DemandError) as caught:
        Scenario(**{"bobs": lab(), "policy": LotSizing, **wrong})
    assert caught.value.next_step


def test_a_line_out_of_reach_is_refused() -> None:
    with pytest.raises(DemandError, match="no key is left"):
        bob_at("far", 40, capacity_bit=1e6, demand_bps=1)
