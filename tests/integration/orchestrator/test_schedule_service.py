"""The live schedule: it survives faults, obeys people, keeps promises, shares several Alices."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from schedule_room import Room, until
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from idq3p.unit_agent.contract import StartRequest, StopRequest, UnitView
from idq3p.unit_agent.settings import UnitAgentSettings
from idq3p.unit_agent.unit import QkdUnit
from nfv_stack.contract.schemas import UnitStart, UnitStop
from orchestrator.errors import UnknownLinkError
from orchestrator.schedule.errors import (
    AbsurdWishError,
    NoWayError,
    OrderRefusedError,
    PromiseRefusedError,
)
from orchestrator.schedule.lease import Lease
from orchestrator.schedule.orders import PinKind
from orchestrator.schedule.promises import PromiseOutcome
from orchestrator.schedule.units import AliceUnit, BobUnit
from orchestrator.schedule.ways import find_ways
from qkd_scheduler.errors import TurnFailedError
from qkd_scheduler.faults import Fault
from qkd_scheduler.ports import Pair
from qkd_scheduler.states import TurnState
from qkd_scheduler.turn import TurnLimits
from sdn_client.errors import NoPath
from sdn_client.paths import LightPath
from sdn_client.topology import LightKind

LINK = "alice--bob-1"
ONE = {"alice--bob-1": {"alice": []}}
TWO = {"alice--bob-1": {"alice": []}, "alice--bob-2": {"alice": []}}
B1, B2, B3, B4 = (f"alice--bob-{n}" for n in range(1, 5))

MakeRoom = Callable[..., Room]


@pytest.fixture
def make_room(engine: Engine) -> Iterator[MakeRoom]:
    rooms: list[Room] = []

    def make(*args: Any, **kwargs: Any) -> Room:
        rooms.append(Room(engine, *args, **kwargs))
        return rooms[-1]

    yield make
    for room in rooms:
        room.schedule.close()
        assert room.glass.violations == []
        assert room.glass.lit == []


# --- it goes on -----------------------------------------------------------------------------------


class ShakyLease(Lease):
    """A lease whose database is away when the test says so."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "schedule", uuid4(), life_s=0.6)
        self.away = threading.Event()

    def acquire(self) -> int | None:
        if self.away.is_set():
            raise OperationalError("UPDATE lease", {}, Exception("server has gone away"))
        return super().acquire()


class Turns:
    """Turns that last until they are stopped; tells when one has begun."""

    def __init__(self, room: Room) -> None:
        self._timetable = room.timetable
        self.begun = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.bugs: list[Exception] = []
        self.put_back_links: list[str] = []

    def run(self, turn_id: UUID, pair: Pair, *, stop: threading.Event, **_: Any) -> int:
        if self.bugs:
            raise self.bugs.pop()
        if not stop.is_set():
            self.begun.release()
            stop.wait(60)
            self.stopped.release()
        self._timetable.enter(turn_id, TurnState.FAILED, "it was stopped", fault=Fault.STOPPED)
        raise TurnFailedError("it was stopped", fault=Fault.STOPPED)

    def put_back(self, turn_id: UUID, pair: Pair | None, fencing: int) -> str:
        self.put_back_links.append("unknown" if pair is None else pair.link)
        return ""


def with_endless_turns(room: Room) -> Turns:
    turns = Turns(room)
    room.desk._turns = cast("Any", turns)
    return turns


def test_a_lease_that_could_not_be_renewed_in_time_stops_one_turn_only(
    engine: Engine, make_room: MakeRoom
) -> None:
    lease = ShakyLease(engine)
    room = make_room(lease=lease)
    turns = with_endless_turns(room)
    room.schedule.start()
    assert turns.begun.acquire(timeout=30)
    lease.away.set()
    assert turns.stopped.acquire(timeout=30), "who cannot renew must not lead"
    lease.away.clear()
    assert turns.begun.acquire(timeout=30), "later turns are not stopped by the old order"


def test_a_bug_in_a_turn_or_before_it_does_not_end_the_schedule(make_room: MakeRoom) -> None:
    room = make_room()
    turns = with_endless_turns(room)
    asked = threading.Event()

    def fail_once(_: str) -> int:
        room.waiting = lambda _: 1
        asked.set()
        raise ZeroDivisionError("1/0")

    room.waiting = fail_once
    turns.bugs = [ZeroDivisionError("1/0")]
    room.schedule.start()
    assert asked.wait(30)
    assert turns.begun.acquire(timeout=30)
    assert turns.put_back_links == [LINK], "the turn with the bug was put back"
    assert room.turns_of(LINK, "failed")[0].fault == Fault.INTERRUPTED


def test_the_path_of_an_unfinished_turn_of_a_link_that_is_gone_is_released(
    make_room: MakeRoom,
) -> None:
    room = make_room()
    turns = with_endless_turns(room)
    room.timetable.open(uuid4(), "alice", "alice--bob-gone", fencing=0, dwell_s=1.0)
    room.timetable.open(uuid4(), "alice-gone", LINK, fencing=0, dwell_s=1.0)
    room.schedule.start()
    assert turns.begun.acquire(timeout=30)
    assert turns.put_back_links == ["unknown", "unknown"]


# --- one Alice ------------------------------------------------------------------------------------


def test_every_bob_gets_keys_and_then_alice_rests(make_room: MakeRoom) -> None:
    room = make_room({link: {"alice": []} for link in (B1, B2, B3)})
    room.schedule.start()
    until(lambda: all(room.turns_of(link) for link in (B1, B2, B3)), "everybody had a turn")
    assert min(room.stores.levels.values()) >= 8
    assert room.glass.lit == []
    turn = room.turns_of(B1)[0]
    assert turn.gained_keys == room.stores.levels[B1]
    assert turn.mean_rate_bps == 2_000.0
    assert turn.qber_max == 0.02
    line = room.outlook.pools()[0].line
    assert line.measured
    assert line.rate_bps == pytest.approx(2_000.0, rel=0.03)
    assert 380 <= line.set_up_s < 20_000


def test_who_runs_dry_is_foreseen_and_served_again(make_room: MakeRoom) -> None:
    room = make_room(TWO)
    room.schedule.start()
    until(lambda: min(room.stores.levels.values()) >= 8, "both pools reach their target")
    room.stores.take(B1, room.stores.levels[B1])
    until(lambda: room.stores.levels[B1] >= 8, "he is served again")
    room.outlook.changed()
    after = {pool.link: pool for pool in room.schedule.pools()}
    assert after[B1].demand_bps > after[B2].demand_bps


def test_a_link_that_fails_again_and_again_does_not_starve_the_others(make_room: MakeRoom) -> None:
    room = make_room(TWO, limits=TurnLimits(initialisation_s=800.0, look_every_s=100.0))
    room.bobs[B1].never_ready = True
    room.schedule.start()
    until(lambda: len(room.turns_of(B1, "failed")) >= 3, "he fails three times")
    assert room.stores.levels[B2] >= 8
    failed = room.turns_of(B1, "failed")
    assert {turn.fault for turn in failed} == {Fault.INITIALISATION}
    waits = [
        (later.started_at - earlier.ended_at).total_seconds()
        for earlier, later in itertools.pairwise(failed)
        if earlier.ended_at is not None
    ]
    assert waits[0] >= 4_000 / 20_000
    assert waits[1] >= 8_000 / 20_000
    # Raised just after the turn is recorded.
    until(lambda: any(a.times >= 3 for a in room.schedule.alarms()), "each failure is told")
    [alarm] = room.schedule.alarms()
    assert (alarm.kind, alarm.subject) == ("initialisation", B1)
    room.bobs[B1].never_ready = False
    room.schedule.keys_now(B1)
    until(lambda: room.stores.levels[B1] >= 8, "somebody asked for him, so he was tried at once")
    until(lambda: room.schedule.alarms()[0].over_at is not None, "the trouble is over")
    room.schedule.acknowledge(alarm.alarm_id)
    assert room.schedule.alarms() == []


@pytest.mark.parametrize("exclude", [False, True])
def test_a_bad_error_rate_quarantines_the_keys_and_raises_an_alarm(
    make_room: MakeRoom, exclude: bool
) -> None:
    room = make_room(TWO, exclude_untrusted=exclude)
    room.bobs[B1].qber = 0.2
    room.schedule.start()
    until(lambda: bool(room.turns_of(B1, "failed")), "the turn is ended")
    failed = room.turns_of(B1, "failed")[0]
    assert failed.fault == Fault.QBER
    assert room.stores.quarantined[0] == (B1, failed.turn_id)
    until(lambda: bool(room.schedule.alarms()), "an alarm is raised")
    assert room.schedule.alarms()[0].kind == "qber"
    until(lambda: room.stores.levels[B2] >= 8, "the other one is served")
    assert room.orders.of(B1).excluded is exclude


def test_a_dark_line_in_the_middle_ends_the_turn(make_room: MakeRoom) -> None:
    room = make_room(ONE)
    room.schedule.pin(LINK, PinKind.HOLD)
    room.schedule.start()
    assert room.alices["alice"].generating.wait(30)
    room.alices["alice"].dark = True
    until(lambda: bool(room.turns_of(LINK, "failed")), "the turn ends")
    assert room.turns_of(LINK, "failed")[0].fault == Fault.LIGHT_LOST
    room.schedule.unpin(LINK)


def test_a_busy_path_is_tried_again_and_nobody_is_blamed(make_room: MakeRoom) -> None:
    room = make_room(ONE)
    room.glass.busy.add(LINK)
    room.schedule.start()
    until(lambda: bool(room.turns_of(LINK, "failed")), "the path is busy")
    room.glass.busy.clear()
    until(lambda: room.stores.levels[LINK] >= 8, "it is free later")
    assert room.schedule.alarms() == []


# --- people ---------------------------------------------------------------------------------------


def test_a_pinned_bob_is_served_next_once(make_room: MakeRoom) -> None:
    room = make_room(TWO)
    room.stores.levels = {B1: 0, B2: 60}
    room.schedule.pin(B2, PinKind.NEXT)
    room.schedule.start()
    until(lambda: bool(room.turns_of(B1)), "the other one comes after him")
    newest_first = [turn.link for turn in room.timetable.recent(10)]
    assert newest_first[-1] == B2
    assert newest_first.count(B2) == 1
    assert room.orders.of(B2).pin is None


def test_a_held_bob_keeps_alice_until_he_is_unpinned(make_room: MakeRoom) -> None:
    room = make_room(TWO)
    room.schedule.pin(B2, PinKind.HOLD)
    room.schedule.start()
    assert room.bobs[B2].generating.wait(30)
    with pytest.raises(OrderRefusedError, match="held on alice--bob-2"):
        room.schedule.pin(B1, PinKind.HOLD)
    assert room.turns_of(B1) == []
    room.schedule.unpin(B2)
    until(lambda: bool(room.turns_of(B1)), "the others come")
    assert room.turns_of(B2)[0].state == TurnState.DONE, "the held turn ended in order"


def test_an_excluded_bob_loses_his_turn_and_gets_no_other_even_after_a_restart(
    make_room: MakeRoom,
) -> None:
    room = make_room(TWO)
    room.schedule.pin(B1, PinKind.HOLD)
    room.schedule.start()
    assert room.bobs[B1].generating.wait(30)
    room.schedule.exclude(B1, why="fibre works")
    until(lambda: room.stores.levels[B2] >= 8, "the other one is served")
    count = len(room.timetable.recent_of(B1, 10))
    room.schedule.close()
    again = make_room(TWO)
    assert again.schedule.orders_of(B1).excluded_why == "fibre works"
    assert again.schedule.orders_of(B1).pin is None, "an excluded Bob is not pinned"
    with pytest.raises(OrderRefusedError, match="excluded"):
        again.schedule.pin(B1, PinKind.NEXT)
    with pytest.raises(OrderRefusedError, match="excluded"):
        again.schedule.keys_now(B1)
    assert again.schedule.keys_expected_in_s(B1) is None
    again.schedule.start()
    until(lambda: again.stores.levels[B2] >= 8, "the other one is served")
    assert len(again.timetable.recent_of(B1, 10)) == count
    again.schedule.include(B1)
    until(lambda: again.stores.levels[B1] >= 8, "he is served again")


def test_a_pin_and_an_exclusion_end_with_their_time(make_room: MakeRoom) -> None:
    room = make_room(TWO)
    room.schedule.pin(B1, PinKind.HOLD, 0.2)
    room.schedule.exclude(B2, 0.2)
    until(lambda: room.schedule.orders_of(B1).pin is None, "the pin is over")
    until(lambda: not room.schedule.orders_of(B2).excluded, "the exclusion is over")


@pytest.mark.parametrize("duration_s", [0.0, -1.0, 1e12, float("nan"), float("inf")])
def test_absurd_durations_are_refused(make_room: MakeRoom, duration_s: float) -> None:
    room = make_room(TWO)
    for order in (
        lambda: room.schedule.pin(B1, PinKind.NEXT, duration_s),
        lambda: room.schedule.exclude(B1, duration_s),
        lambda: room.schedule.plan(duration_s),
    ):
        with pytest.raises(AbsurdWishError):
            order()
    assert room.orders.all() == {}


def test_unknown_links_are_refused(make_room: MakeRoom) -> None:
    room = make_room(TWO)
    for order in (
        lambda: room.schedule.pin("alice--bob-9", PinKind.NEXT),
        lambda: room.schedule.unpin("alice--bob-9"),
        lambda: room.schedule.exclude("alice--bob-9"),
        lambda: room.schedule.keys_now("alice--bob-9"),
        lambda: room.schedule.promise(uuid4(), "alice--bob-9", 256, 1.0),
    ):
        with pytest.raises(UnknownLinkError, match="alice--bob-9"):
            order()
    assert room.schedule.keys_expected_in_s("alice--bob-9") is None


# --- promises -------------------------------------------------------------------------------------


def test_a_promise_is_kept_and_counted(make_room: MakeRoom) -> None:
    room = make_room(TWO)
    room.stores.target = 0  # nobody needs anything, but for the promise
    operation = uuid4()
    promise = room.schedule.promise(operation, B2, 16 * 256, due_in_s=60.0)
    assert promise.asked_at < promise.promised_at <= promise.due_at
    assert room.schedule.promise(operation, B2, 16 * 256, due_in_s=1.0) == promise, "asked again"
    room.schedule.start()
    until(lambda: room.stores.levels[B2] >= 16, "the keys are made")
    room.schedule.promise_kept(operation)
    assert room.schedule.promise_counts()[PromiseOutcome.KEPT] == 1
    assert room.schedule.kept_share() == 1.0
    assert room.turns_of(B1) == []


def test_what_cannot_be_kept_is_refused_with_the_earliest_time(make_room: MakeRoom) -> None:
    room = make_room(TWO)
    with pytest.raises(PromiseRefusedError) as refused:
        room.schedule.promise(uuid4(), B1, 16 * 256, due_in_s=0.001)
    earliest_s = refused.value.extensions["earliest_in_s"]
    assert 0.001 < earliest_s < 60
    assert room.schedule.promise(uuid4(), B1, 16 * 256, due_in_s=2 * earliest_s)
    with pytest.raises(PromiseRefusedError, match="larger than the pool"):
        room.schedule.promise(uuid4(), B1, 65 * 256, due_in_s=1e6)
    for bits, due_in_s in ((0, 1.0), (-5, 1.0), (2**60, 1.0), (256, -1.0), (256, float("nan"))):
        with pytest.raises(AbsurdWishError):
            room.schedule.promise(uuid4(), B1, bits, due_in_s)
    room.schedule.exclude(B1)
    with pytest.raises(PromiseRefusedError, match="excluded"):
        room.schedule.promise(uuid4(), B1, 256, due_in_s=100.0)


def test_a_promise_whose_time_passed_is_broken_and_raises_an_alarm(make_room: MakeRoom) -> None:
    room = make_room(TWO)
    late, withdrawn = uuid4(), uuid4()
    room.schedule.promise(late, B1, 8 * 256, due_in_s=2.5)
    room.schedule.promise(withdrawn, B1, 8 * 256, due_in_s=30.0)
    room.schedule.promise_withdrawn(withdrawn)
    until(lambda: room.schedule.promises()[-1].outcome is PromiseOutcome.BROKEN, "its time passes")
    room.schedule.promise_kept(late)  # too late
    outcomes = {p.operation_id: p.outcome for p in room.schedule.promises()}
    assert outcomes == {late: PromiseOutcome.BROKEN, withdrawn: PromiseOutcome.WITHDRAWN}
    assert room.schedule.kept_share() == 0.0
    assert room.promises.open() == []
    assert [alarm.kind for alarm in room.schedule.alarms()] == ["promise-broken"]


# --- several Alices -------------------------------------------------------------------------------

BOTH: dict[str, dict[str, list[str]]] = {
    link: {"alice-1": [], "alice-2": []} for link in (B1, B2, B3, B4)
}


def test_two_alices_share_the_bobs_and_work_at_once(make_room: MakeRoom) -> None:
    room = make_room(BOTH)
    room.schedule.start()
    until(lambda: all(room.turns_of(link) for link in BOTH), "everybody had a turn")
    assert len(room.assignments.bobs_of("alice-1")) == 2
    assert len(room.assignments.bobs_of("alice-2")) == 2
    for link in BOTH:
        assert {turn.alice for turn in room.turns_of(link)} == {room.schedule.alice_of(link)}
    assert room.glass.most_at_once == 2


def test_turns_that_share_a_fibre_exclude_each_other(make_room: MakeRoom) -> None:
    shared = {
        B1: {"alice-1": ["fibre trunk"]},
        B2: {"alice-2": ["fibre trunk"]},
    }
    room = make_room(shared)
    room.stores.made_per_drain = 4
    room.schedule.start()
    until(lambda: min(room.stores.levels.values()) >= 8, "both pools reach their target")
    assert room.glass.most_at_once == 1


def test_bobs_of_a_silent_alice_move_and_she_comes_back(make_room: MakeRoom) -> None:
    room = make_room(BOTH)
    room.alices["alice-1"].silent = True
    room.schedule.start()
    until(lambda: min(room.stores.levels.values()) >= 8, "the other one serves all")
    until(
        lambda: (
            {turn.alice for turn in room.timetable.recent(50) if turn.state == "done"}
            == {"alice-2"}
        ),
        "she alone",
    )
    [alarm] = room.schedule.alarms()
    assert (alarm.kind, alarm.subject) == ("alice-silent", "alice-1")
    room.alices["alice-1"].silent = False
    until(lambda: room.schedule.alarms()[0].over_at is not None, "she answers again")


def test_the_assignment_outlives_a_restart(make_room: MakeRoom) -> None:
    room = make_room(BOTH)
    room.schedule.start()
    until(lambda: min(room.stores.levels.values()) >= 8, "all pools reach their target")
    before = {link: room.schedule.alice_of(link) for link in BOTH}
    room.schedule.close()
    again = make_room(BOTH)
    assert {link: again.schedule.alice_of(link) for link in BOTH} == before


def test_a_bob_with_a_turn_on_does_not_move(make_room: MakeRoom) -> None:
    room = make_room(BOTH)
    turns = with_endless_turns(room)
    room.schedule.start()
    for _ in range(2):
        assert turns.begun.acquire(timeout=30)
    served = {row.link: row.alice for row in room.timetable.unfinished()}
    other = {"alice-1": "alice-2", "alice-2": "alice-1"}
    moved = room.desk.reassign({link: other[room.schedule.alice_of(link)] for link in BOTH})
    assert set(moved) == set(BOTH) - set(served)
    for link, alice in served.items():
        assert room.schedule.alice_of(link) == alice


# --- bad input ------------------------------------------------------------------------------------


def test_a_link_without_a_path_or_beyond_reach_is_named_with_its_reason() -> None:
    pairs = {"alice": Pair(LINK, cast("Any", None), cast("Any", None))}

    def no_path(_: str) -> LightPath:
        raise NoPath("alice to bob-1: no quantum path joins them.", next_step="")

    def too_far(alice: str) -> LightPath:
        return LightPath(alice, "bob-1", LightKind.QUANTUM, (), ("spool",), 30.0, 7.5, 1.5)

    with pytest.raises(NoWayError, match="no quantum path joins them") as raised:
        find_ways(LINK, pairs, no_path)
    assert raised.value.next_step
    with pytest.raises(NoWayError, match=r"no key is left on a line of 7\.50 dB"):
        find_ways(LINK, pairs, too_far)
    with pytest.raises(NoWayError, match="There is no Alice"):
        find_ways(LINK, {}, too_far)


# --- units ----------------------------------------------------------------------------------------


class Program:
    def __init__(self, command: Sequence[str], output: Path, grace_s: float) -> None: ...

    def exit_status(self) -> int | None:
        return None

    def stop(self) -> None: ...

    def last_words(self) -> str:
        return ""


class Agent:
    """An agent's and a gateway's face of a real unit state machine, without the network."""

    def __init__(self, folder: Path, role: str) -> None:
        settings = UnitAgentSettings.model_validate(
            {
                "name": "unit-1", "role": role, "emulated": True, "port": 0,
                "credentials": {"certificate": "c", "key": "k", "authority": "a"},
                "state_dir": folder / "state", "command": ["QKDSequence"],
                "log_file": folder / "qkd.log", "idq3p_address": "127.0.0.1",
            }
        )  # fmt: skip
        self._unit = QkdUnit(settings, start_program=Program)

    def unit(self, _: str = "") -> UnitView:
        return self._unit.view()

    def start(self, request: StartRequest) -> UnitView:
        return self._unit.start(request)

    def stop(self, request: StopRequest) -> UnitView:
        return self._unit.stop(request)

    def start_unit(self, _: str, request: UnitStart) -> UnitView:
        return self._unit.start(StartRequest(**request.model_dump()))

    def stop_unit(self, _: str, request: UnitStop) -> UnitView:
        return self._unit.stop(StopRequest(**request.model_dump()))

    def close(self) -> None:
        self._unit.close()


@pytest.mark.parametrize("role", ["alice", "bob"])
def test_a_unit_that_an_earlier_turn_could_not_stop_serves_the_next_turn(
    tmp_path: Path, role: str
) -> None:
    agent = Agent(tmp_path, role)
    client = cast("Any", agent)
    unit = AliceUnit(client, "127.0.0.2") if role == "alice" else BobUnit(client, LINK)
    try:
        unit.start(uuid4(), 1, loss_db=2.5)  # and then nobody could reach it to stop it
        turn_id = uuid4()
        unit.start(turn_id, 1, loss_db=2.5)
        assert agent.unit().turn_id == turn_id
        unit.start(turn_id, 1, loss_db=2.5)  # the same again changes nothing
        assert agent.unit().turn_id == turn_id
    finally:
        agent.close()
