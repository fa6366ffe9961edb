"""Pins around a policy, and what is foreseen of a turn that is on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from qkd_scheduler.policies import BobView, Choice
from qkd_scheduler.policies.catalogue import NAMES, named
from qkd_scheduler.policies.directed import HOLD_S, Directed, Pin
from qkd_scheduler.policies.forecast import forecast

BOBS = [
    BobView("a", 100, 64, 1024, 0, 1, demand_bps=0.5, rate_bps=2454.0, set_up_s=452.0),
    BobView("b", 10, 64, 1024, 0, 2, demand_bps=0.5, rate_bps=727.0, set_up_s=678.0),
    BobView("c", 0, 64, 1024, 1, 3, demand_bps=0.5, rate_bps=98.0, set_up_s=1265.0),
]


def nobody(_: Sequence[BobView], /) -> Choice | None:
    return None


@pytest.mark.parametrize("name", NAMES)
def test_a_pin_comes_before_every_policy_and_is_served_once(name: str) -> None:
    policy = Directed(named(name), (Pin("a", after=1),))
    choice = policy(BOBS)
    assert choice is not None
    assert choice.link == "a"
    assert 60 <= choice.dwell_s <= HOLD_S
    served = [replace(BOBS[0], last_served=4), *BOBS[1:]]
    assert policy(served) == named(name)(served)


def test_pins_are_served_in_their_order() -> None:
    policy = Directed(nobody, (Pin("b", after=2), Pin("a", after=1)))
    assert [turn.link for turn in forecast(policy, BOBS, 20_000.0).turns] == ["b", "a"]


def test_a_pin_of_one_who_is_not_available_waits() -> None:
    away = [replace(BOBS[0], available=False), *BOBS[1:]]
    policy = Directed(nobody, (Pin("a", after=1),))
    assert policy(away) is None
    assert policy(BOBS[1:]) is None, "nor is an excluded one served"


def test_a_hold_has_its_length() -> None:
    policy = Directed(nobody, (Pin("c", after=3, hold_s=5_000.0),))
    assert policy(BOBS) == Choice("c", 5_000.0)
    [turn] = forecast(policy, BOBS, 40_000.0).turns
    assert turn.ends_in_s - turn.generates_in_s == 5_000.0


def test_a_turn_that_is_on_is_foreseen_with_what_is_left_of_its_set_up() -> None:
    on = [*BOBS[:2], replace(BOBS[2], turn_generates_in_s=300.0, turn_ends_in_s=1_000.0)]
    first, *others = forecast(named("lot_sizing"), on, 20_000.0).turns
    assert (first.link, first.under_way) == ("c", True)
    assert (first.starts_in_s, first.generates_in_s, first.ends_in_s) == (0.0, 300.0, 1_000.0)
    assert first.gained_bit == pytest.approx(700.0 * 98.0)
    assert not any(turn.under_way for turn in others)
    assert others[0].starts_in_s >= 1_000.0
