"""Promises by deadline, who serves whom, and what sharing saves."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkd_scheduler.bounds import Lot, load
from qkd_scheduler.economy import Prices, alices_needed, compare
from qkd_scheduler.errors import DemandError
from qkd_scheduler.policies import KEY_BIT, BobView, Deadline
from qkd_scheduler.policies.admission import admit
from qkd_scheduler.policies.assignment import Route, Site, assign
from qkd_scheduler.policies.lot_sizing import LotSizing


def bob(link: str, level: int, deadlines: tuple[Deadline, ...] = ()) -> BobView:
    return BobView(link, level, 8000, 8000, 0, 0, 10.0, 1000.0, 500.0, deadlines)


def test_what_is_there_is_promised_at_once() -> None:
    promise = admit(LotSizing(), [bob("a", 5000), bob("b", 5000)], "a", 4000 * KEY_BIT, 3600)
    assert promise.admitted
    assert promise.promised_in_s == 0


def test_what_must_be_made_is_promised_in_time_or_refused_with_the_earliest() -> None:
    bobs = [bob("a", 1000), bob("b", 5000)]
    bits = 5000 * KEY_BIT
    refused = admit(LotSizing(), bobs, "a", bits, 900)
    assert not refused.admitted
    # At least the set-up, and what is missing at his rate.
    quickest_s = 500 + (4000 * KEY_BIT) / 1000
    assert refused.earliest_in_s is not None
    assert quickest_s <= refused.earliest_in_s <= 1.5 * quickest_s
    admitted = admit(LotSizing(), bobs, "a", bits, 7200)
    assert admitted.promised_in_s is not None
    assert quickest_s <= admitted.promised_in_s <= 7200


def test_a_new_promise_does_not_break_an_old_one() -> None:
    # 3000 keys by 2000 s could be made, but not on top of 7900 by 3000 s.
    old = Deadline(7900 * KEY_BIT, 3000.0)
    bobs = [bob("a", 1000, (old,)), bob("b", 5000)]
    assert admit(LotSizing(), [bob("a", 1000), bob("b", 5000)], "a", 3000 * KEY_BIT, 2000).admitted
    greedy = admit(LotSizing(), bobs, "a", 3000 * KEY_BIT, 2000)
    assert not greedy.admitted
    assert greedy.earliest_in_s is not None
    assert greedy.earliest_in_s > 3000


def test_a_pad_larger_than_the_pool_is_never_possible() -> None:
    promise = admit(LotSizing(), [bob("a", 5000)], "a", 8001 * KEY_BIT, 1e9)
    assert not promise.admitted
    assert promise.earliest_in_s is None
    assert "larger than the pool" in promise.reason


@pytest.mark.parametrize(("link", "bits", "due_s"), [("x", 1, 1), ("a", 0, 1), ("a", 1, -1)])
def test_absurd_wishes_are_refused(link: str, bits: int, due_s: float) -> None:
    with pytest.raises(DemandError):
        admit(LotSizing(), [bob("a", 5000)], link, bits, due_s)


# --- several Alices -------------------------------------------------------------------------------

LOT = Lot(20, 1000, 500, 20 * 12 * 3600)


def sites(number: int, alices: list[str], lot: Lot = LOT) -> list[Site]:
    return [Site(f"bob {i}", dict.fromkeys(alices, Route(lot))) for i in range(number)]


@settings(max_examples=30)
@given(st.lists(st.floats(0.01, 0.5), min_size=1, max_size=30), st.integers(1, 5))
def test_everyone_is_assigned_and_loads_are_within_the_greedy_guarantee(
    utilisations: list[float], number: int
) -> None:
    alices = [f"alice {i}" for i in range(number)]
    loads = [Lot(1000 * u, 1000, 0, 1e9) for u in utilisations]
    each = [Site(f"bob {i}", dict.fromkeys(alices, Route(x))) for i, x in enumerate(loads)]
    plan = assign(each, alices)
    assert set(plan.alice_of) == {site.name for site in each}
    assert sum(plan.load_of.values()) == pytest.approx(sum(utilisations))
    # Longest first is within 4/3 of the optimum, which is no less than these two (Graham 1969).
    optimum_at_least = max(max(utilisations), sum(utilisations) / number)
    ranked = sorted(utilisations, reverse=True)
    if len(ranked) > number:
        optimum_at_least = max(optimum_at_least, ranked[number - 1] + ranked[number])
    assert plan.largest_load <= 4 / 3 * optimum_at_least + max(utilisations) + 1e-9


def test_bobs_stay_where_they_are_unless_moving_is_worth_it() -> None:
    alices = ["a", "b"]
    each = sites(4, alices)
    stay = {"bob 0": "a", "bob 1": "a", "bob 2": "a", "bob 3": "b"}
    assert assign(each, alices, stay, worth=0.5).moved == ()
    assert len(assign(each, alices, stay, worth=0.01).moved) == 1


def test_bobs_of_an_alice_who_is_gone_move() -> None:
    plan = assign(sites(4, ["a", "b"]), ["b"], {f"bob {i}": "a" for i in range(4)})
    assert set(plan.alice_of.values()) == {"b"}
    assert len(plan.moved) == 4


def test_a_shared_fibre_counts_as_a_load() -> None:
    heavy = Lot(400, 1000, 0, 1e9)
    shared, free = frozenset({"fibre 1"}), frozenset({"fibre 2"})
    each = [
        Site("x", {"a": Route(heavy, shared), "b": Route(heavy, free)}),
        Site("y", {"a": Route(heavy, free), "b": Route(heavy, shared)}),
        Site("z", {"a": Route(heavy, shared), "b": Route(heavy, shared)}),
    ]
    plan = assign(each, ["a", "b"])
    assert plan.largest_load == pytest.approx(0.8)
    assert max(plan.resource_load.values()) <= 0.8 + 1e-9


def test_a_bob_without_a_path_is_named() -> None:
    with pytest.raises(DemandError, match="bob 0"):
        assign(sites(1, ["a"]), ["b"])


def test_a_thousand_bobs_and_32_alices_are_planned_within_a_second() -> None:
    alices = [f"alice {i}" for i in range(32)]
    each = [
        Site(
            f"bob {i}",
            {
                a: Route(
                    Lot(5, 300 + (i * 7 + n * 13) % 2000, 450 + (i + n) % 700, 2e6),
                    frozenset({f"port {a}", f"fibre {i % 250}"}),
                )
                for n, a in enumerate(alices)
            },
        )
        for i in range(1000)
    ]
    began_s = time.process_time()
    plan = assign(each, alices)
    assert time.process_time() - began_s < 1.0
    assert plan.largest_load < 1
    assert min(plan.load_of.values()) > 0.8 * max(plan.load_of.values())


# --- economy --------------------------------------------------------------------------------------


def test_one_alice_for_little_demand_and_as_many_as_bobs_for_much() -> None:
    little = [Lot(1, 1000, 400, 1e7)] * 10
    much = [Lot(900, 1000, 400, 1e8)] * 10
    assert alices_needed(little) == 1
    assert alices_needed(much) == 10


def test_alices_needed_follow_the_load() -> None:
    lots = [Lot(100, 1000, 400, 1e7)] * 20
    total = sum(load([lot]) for lot in lots)
    assert total <= alices_needed(lots) <= total + 2


def test_sharing_needs_n_plus_one_devices() -> None:
    economy = compare([Lot(5, 1000, 400, 1e7)] * 3, Prices(alice=100, bob=50, switch_port=5))
    assert (economy.shared_devices, economy.own_devices) == (4, 6)
    assert economy.shared_cost == 3 * 50 + 100 + 4 * 5
    assert economy.own_cost == 3 * 150
    assert economy.saved_share == pytest.approx(1 - 270 / 450)
    assert compare([Lot(5, 1000, 400, 1e7)]).saved_share is None


def test_a_demand_beyond_a_line_is_named() -> None:
    with pytest.raises(DemandError, match="Bob 2"):
        alices_needed([Lot(5, 1000, 400, 1e7), Lot(1000, 1000, 400, 1e7)])
