"""The schedule goes on: after a lease that could not be renewed, a bug, a unit left running."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from idq3p.unit_agent.contract import StartRequest, StopRequest, UnitView
from idq3p.unit_agent.settings import UnitAgentSettings
from idq3p.unit_agent.unit import QkdUnit
from nfv_stack.contract.schemas import UnitStart, UnitStop
from orchestrator.events.bus import EventBus
from orchestrator.schedule.lease import Lease
from orchestrator.schedule.service import ScheduleService
from orchestrator.schedule.timetable import Timetable
from orchestrator.schedule.units import AliceUnit, BobUnit
from qkd_scheduler.errors import TurnFailedError
from qkd_scheduler.policies.sequential import Sequential
from qkd_scheduler.ports import Pair
from qkd_scheduler.states import TurnState
from timekeeping import QkdClock, SystemClock

LINK = "alice--bob-1"


class ShakyLease(Lease):
    """A lease whose database is away when the test says so."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "schedule", uuid4(), life_s=0.6)
        self.away = threading.Event()
        self.asked_in_vain = threading.Event()

    def acquire(self) -> int | None:
        if self.away.is_set():
            self.asked_in_vain.set()
            raise OperationalError("UPDATE lease", {}, Exception("server has gone away"))
        return super().acquire()


class EmptyPools:
    pool_target_keys = capacity_keys = 8

    def level(self, link: str) -> int:
        return 0

    def waiting_on_demand(self, link: str) -> int:
        return 0


class Turns:
    """Turns that last until they are stopped; tells when one has begun."""

    def __init__(self, timetable: Timetable) -> None:
        self._timetable = timetable
        self.begun = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.bugs: list[Exception] = []
        self.put_back_links: list[str] = []

    def run(
        self, turn_id: UUID, pair: Pair, *, fencing: int, dwell_s: float, stop: threading.Event
    ) -> int:
        if self.bugs:
            raise self.bugs.pop()
        if not stop.is_set():
            self.begun.release()
            stop.wait(60)
            self.stopped.release()
        self._timetable.enter(turn_id, TurnState.FAILED, "it was stopped")
        raise TurnFailedError("it was stopped", next_step="")

    def put_back(self, turn_id: UUID, pair: Pair | None, fencing: int) -> str:
        self.put_back_links.append("unknown" if pair is None else pair.link)
        return ""


class Room:
    def __init__(self, engine: Engine) -> None:
        self.timetable = Timetable(engine, SystemClock(), EventBus())
        self.lease = ShakyLease(engine)
        self.turns = Turns(self.timetable)
        self.waiting: Callable[[str], int] = lambda _: 1
        nobody = cast("Any", None)
        self.schedule = ScheduleService(
            "alice",
            {LINK: Pair(LINK, nobody, nobody)},
            Sequential(600.0),
            cast("Any", self.turns),
            cast("Any", EmptyPools()),
            self.timetable,
            self.lease,
            QkdClock(1000.0),
            waiting_for_keys=lambda link: self.waiting(link),
        )


@pytest.fixture
def room(engine: Engine) -> Iterator[Room]:
    room = Room(engine)
    yield room
    room.schedule.close()


def test_a_lease_that_could_not_be_renewed_for_a_moment_stops_one_turn_only(room: Room) -> None:
    room.schedule.start()
    assert room.turns.begun.acquire(timeout=30)
    room.lease.away.set()
    assert room.turns.stopped.acquire(timeout=30), "who cannot renew must not lead"
    room.lease.away.clear()
    assert room.turns.begun.acquire(timeout=30), "later turns are not stopped by the old order"


def test_a_bug_in_a_turn_or_before_it_does_not_end_the_schedule(room: Room) -> None:
    asked = threading.Event()

    def fail_once(_: str) -> int:
        room.waiting = lambda _: 1
        asked.set()
        raise ZeroDivisionError("1/0")

    room.waiting = fail_once
    room.turns.bugs = [ZeroDivisionError("1/0")]
    room.schedule.start()
    assert asked.wait(30)
    assert room.turns.begun.acquire(timeout=30)
    assert room.turns.put_back_links == [LINK], "the turn with the bug was put back"


def test_the_path_of_an_unfinished_turn_of_a_link_that_is_gone_is_released(room: Room) -> None:
    room.timetable.open(uuid4(), "alice", "alice--bob-gone", fencing=0, dwell_s=1.0)
    room.schedule.start()
    assert room.turns.begun.acquire(timeout=30)
    assert room.turns.put_back_links == ["unknown"]


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
