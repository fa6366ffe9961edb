"""Where turns stand on the axis of time, and in which phases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gui.gantt import Window, lanes_of
from orchestrator.gui.phases import phases_of
from orchestrator.store.tables import TurnRow
from qkd_scheduler.policies.forecast import Forecast, PlannedTurn
from qkd_scheduler.states import TurnState

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LINK = "alice--bob-1"


def turn(state: TurnState, *begins_s: float, ended_s: float | None = None) -> TurnRow:
    """`begins_s`: when each phase began, seconds before now, in their order."""
    at = [NOW - timedelta(seconds=s) for s in begins_s] + [None] * 5
    return TurnRow(
        number=1,
        turn_id=uuid4(),
        alice="alice",
        link=LINK,
        state=state.value,
        started_at=at[0],
        standby_at=at[1],
        initialising_at=at[2],
        generating_at=at[3],
        draining_at=at[4],
        ended_at=None if ended_s is None else NOW - timedelta(seconds=ended_s),
    )


def test_phases_follow_each_other_without_a_gap() -> None:
    done = phases_of(turn(TurnState.DONE, 100, 99, 98, 60, 20, ended_s=10), NOW)
    assert [phase.seconds for phase in done] == [1, 1, 38, 40, 10]
    assert all(a.ends_at == b.begins_at for a, b in pairwise(done))


def test_a_present_turn_reaches_until_now_and_a_failed_one_until_its_end() -> None:
    present = phases_of(turn(TurnState.INITIALISING, 30, 29, 28), NOW)
    assert present[-1].state is TurnState.INITIALISING
    assert present[-1].ends_at == NOW
    failed = phases_of(turn(TurnState.FAILED, 30, 29, ended_s=5), NOW)
    assert failed[-1].state is TurnState.STANDBY
    assert failed[-1].seconds == 24


def test_a_turn_of_before_phases_were_remembered_is_shown_too() -> None:
    old = turn(TurnState.DONE, 100, ended_s=10)
    old.generating_at = NOW - timedelta(seconds=50)
    assert [phase.seconds for phase in phases_of(old, NOW)] == [50, 40]


def test_past_present_and_planned_stand_in_the_lane_of_their_link() -> None:
    window = Window.around(NOW, 3600, scale=10)  # three real minutes to each side
    plan = Forecast((PlannedTurn("alice--bob-2", 600, 1200, 1800, 256.0),), {})
    first, second = lanes_of(
        [LINK, "alice--bob-2"],
        [turn(TurnState.GENERATING, 90, 89, 88, 45)],
        {"alice": plan},
        window,
    )
    assert [bar.state for bar in first.bars][-2:] == [TurnState.INITIALISING, TurnState.GENERATING]
    assert first.bars[-1].x + first.bars[-1].width == pytest.approx(50)
    assert first.bars[-1].width == pytest.approx(12.5)
    assert "generate, 7 min 30 s of QKD time" in first.bars[-1].title
    assert [(bar.planned, bar.x, bar.width) for bar in second.bars] == [
        (True, pytest.approx(66.667), pytest.approx(16.667, abs=0.002)),
        (True, pytest.approx(83.333), pytest.approx(16.667, abs=0.002)),
    ]


def test_what_lies_outside_is_left_out_and_what_reaches_in_is_cut() -> None:
    window = Window.around(NOW, 100, scale=1)
    [lane] = lanes_of([LINK], [turn(TurnState.DONE, 200, 190, 180, 90, 80, ended_s=40)], {}, window)
    assert [(bar.state, bar.x, bar.width) for bar in lane.bars] == [
        (TurnState.DRAINING, 0.0, 10.0),
    ]


@given(st.floats(min_value=60, max_value=10 * 86_400), st.floats(min_value=1, max_value=10_000))
def test_marks_are_few_apart_and_even(qkd_s: float, scale: float) -> None:
    marks = Window.around(NOW, qkd_s, scale).marks()
    places = [place for place, _ in marks]
    assert len(marks) <= 10
    assert places == sorted(places)
    assert all(0 < place < 100 for place in places)
    assert sum(places) == pytest.approx(50 * len(places), abs=0.1)  # as many past as to come
