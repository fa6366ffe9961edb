"""What the schedule learns from its past, by a clock that stands still."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from schedule_room import Room
from sqlalchemy import Engine

from orchestrator.schedule.feeds import Feeds
from orchestrator.schedule.promises import Promise
from orchestrator.schedule.timetable import Timetable
from qkd_scheduler import link_model
from qkd_scheduler.faults import Fault
from qkd_scheduler.measurements import Measured
from qkd_scheduler.states import TurnState
from timekeeping import FakeClock, QkdClock

LINK = "alice--bob-1"
SCALE = 100.0


class StillClock(QkdClock):
    """Stands still until it is moved; `now` is real time, the rest QKD time."""

    def __init__(self) -> None:
        super().__init__(SCALE)
        self.wall = FakeClock()

    def now(self):  # type: ignore[no-untyped-def]
        return self.wall.now()

    def monotonic(self) -> float:
        return self.wall.monotonic() * SCALE

    def qkd(self, seconds: float) -> None:
        self.wall.advance(seconds / SCALE)


class Past:
    """A room whose past is written by hand."""

    def __init__(self, engine: Engine) -> None:
        self.clock = StillClock()
        self.room = Room(engine)
        for part in (self.room.timetable, self.room.orders, self.room.promises):
            part._clock = self.clock
        self.room.outlook._clock = self.clock
        self.room.stores._clock = self.clock
        self.timetable: Timetable = self.room.timetable
        self.feeds = Feeds(
            self.timetable,
            self.room.stores,
            self.clock,
            demand_window_s=86_400.0,
            expected_demand_bps=0.5,
        )
        self.room.outlook._feeds = self.feeds
        self.way = self.room.ways.to(LINK)["alice"]

    def begin(self, dwell_s: float = 600.0) -> UUID:
        turn_id = uuid4()
        self.timetable.open(turn_id, "alice", LINK, fencing=1, dwell_s=dwell_s)
        return turn_id

    def turn(self, *, set_up_s: float = 1_000.0, tail_s: float = 50.0, rate_bps: float = 2_000.0,
             fault: Fault | None = None) -> None:  # fmt: skip
        turn_id = self.begin()
        self.clock.qkd(set_up_s)
        if fault is not None:
            self.timetable.enter(turn_id, TurnState.FAILED, "it failed", fault=fault)
            return
        self.timetable.enter(turn_id, TurnState.GENERATING)
        self.timetable.measured(turn_id, Measured(3, rate_bps, rate_bps, 0.02, 0.01, 0.02, 0.03))
        self.clock.qkd(600.0)
        self.timetable.enter(turn_id, TurnState.DRAINING)
        self.clock.qkd(tail_s)
        self.timetable.enter(turn_id, TurnState.DONE)

    def rests_for_s(self) -> float | None:
        """QKD seconds."""
        turns = self.timetable.recent_of(LINK, 20)
        until = self.room.outlook.rests_until(self.room.orders.of(LINK), turns)
        return None if until is None else (until - self.clock.now()).total_seconds() * SCALE


@pytest.fixture
def past(engine: Engine) -> Past:
    return Past(engine)


def test_before_any_turn_the_physics_of_the_line_are_believed(past: Past) -> None:
    line = past.feeds.line(past.way)
    physics = link_model.line(2.548, 5.0)
    assert not line.measured
    assert line.rate_bps == pytest.approx(physics.secret_key_rate_bps, rel=0.03)
    programs_s = 1.0 * SCALE
    expected_s = link_model.initialisation_s(physics) + programs_s
    assert line.set_up_s == pytest.approx(expected_s, rel=0.03)


def test_past_turns_say_rate_and_set_up_with_all_that_is_no_dwell(past: Past) -> None:
    past.turn(set_up_s=5_000.0, rate_bps=10.0)  # the oldest of six does not count
    for rate_bps in (1_800.0, 1_900.0, 2_000.0, 2_100.0, 2_200.0):
        past.turn(set_up_s=1_000.0, tail_s=200.0, rate_bps=rate_bps)
    past.turn(fault=Fault.LIGHT_LOST, set_up_s=9_000.0)
    line = past.feeds.line(past.way)
    assert line.measured
    assert line.rate_bps == pytest.approx(2_000.0, rel=0.03)
    assert line.set_up_s == pytest.approx(1_200.0, rel=0.03)


def test_estimates_stay_still_while_they_move_little(past: Past) -> None:
    past.turn(rate_bps=2_000.0)
    before = past.feeds.line(past.way).rate_bps
    past.turn(rate_bps=2_010.0)
    assert past.feeds.line(past.way).rate_bps == before


def test_demand_begins_as_expected_and_follows_what_is_taken(past: Past) -> None:
    assert past.feeds.demand_bps(LINK) == pytest.approx(0.5, rel=0.03)
    past.turn()
    past.clock.qkd(86_400.0)
    past.room.stores.taken.append((LINK, past.clock.now() - timedelta(seconds=1), 1_000))
    # A day at 256 kbit, and a quarter of a day as expected.
    expected_bps = (0.5 * 21_600 + 1_000 * 256) / (21_600 + 86_400)
    assert past.feeds.demand_bps(LINK) == pytest.approx(expected_bps, rel=0.03)
    past.clock.qkd(2 * 86_400.0)
    assert past.feeds.demand_bps(LINK) < 0.15, "what lies before the window is forgotten"


def test_a_present_turn_is_seen_with_what_is_left_of_it(past: Past) -> None:
    past.turn(set_up_s=1_000.0, tail_s=50.0)
    turn_id = past.begin(dwell_s=600.0)
    past.clock.qkd(400.0)
    [view] = past.room.outlook.views("alice")
    assert view.turn_generates_in_s == pytest.approx(650.0, rel=0.05)
    assert view.turn_ends_in_s == pytest.approx(1_250.0, rel=0.05)
    past.timetable.enter(turn_id, TurnState.GENERATING)
    past.clock.qkd(100.0)
    [view] = past.room.outlook.views("alice")
    assert (view.turn_generates_in_s, view.turn_ends_in_s) == (0.0, pytest.approx(500.0))


def test_who_was_promised_his_keys_has_a_deadline_and_does_not_wait(past: Past) -> None:
    now = past.clock.now()
    for number, real_s in enumerate((30.0, 60.0)):
        due = now + timedelta(seconds=real_s)
        past.room.promises.add(Promise(UUID(int=number), LINK, 2_560, now, due, due))
    past.room.waiting = lambda _: 3
    [view] = past.room.outlook.views("alice")
    assert [d.due_in_s for d in view.deadlines] == [3_000.0, 6_000.0]
    assert view.waiting_deployments == 1, "of three, two have a promise"
    past.clock.qkd(4_000.0)
    [view] = past.room.outlook.views("alice")
    assert [d.due_in_s for d in view.deadlines] == [2_000.0]
    assert view.waiting_deployments == 10, "the broken promise waits, with all its keys"


def test_pauses_after_failures_double_and_are_forgiven(past: Past) -> None:
    assert past.rests_for_s() is None
    for expected_s in (4_000.0, 8_000.0, 16_000.0):
        past.turn(fault=Fault.INITIALISATION)
        assert past.rests_for_s() == pytest.approx(expected_s)
    for _ in range(5):
        past.turn(fault=Fault.BOB_SILENT)
    assert past.rests_for_s() == pytest.approx(32 * 4_000.0), "not for ever"
    past.room.orders.ask_keys(LINK)
    assert past.rests_for_s() is None, "somebody asked for him"
    past.clock.qkd(1.0)
    past.turn(fault=Fault.STOPPED)
    past.turn(fault=Fault.INTERRUPTED)
    assert past.rests_for_s() is None, "nobody is to blame"
    past.turn(fault=Fault.QBER)
    assert past.rests_for_s() == pytest.approx(4_000.0)
    past.turn()
    assert past.rests_for_s() is None, "a good turn ends it"


def test_forecasts_are_kept_for_a_moment_and_renewed_when_something_changes(past: Past) -> None:
    outlook = past.room.outlook
    first = outlook.forecast("alice")
    assert first.turns
    assert outlook.forecast("alice") is first
    outlook.changed()
    second = outlook.forecast("alice")
    assert second is not first
    past.clock.wall.advance(2.0)
    assert outlook.forecast("alice") is not second
