"""A turn of Alice: order of steps, and that nothing stays behind when one fails."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest

from problem_details import ProblemError
from qkd_scheduler.errors import TurnFailedError
from qkd_scheduler.ports import Pair, UnitReading
from qkd_scheduler.states import FINAL, MEANING, NEXT, TurnState
from qkd_scheduler.turn import TurnLimits, TurnRunner


@dataclass
class Clock:
    """Time passes only by waiting."""

    elapsed_s: float = 0.0

    def now(self) -> None: ...

    def monotonic(self) -> float:
        return self.elapsed_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.elapsed_s += timeout_s
        return event.is_set()


@dataclass
class House:
    """All neighbours of a turn in one place, with a diary of effects."""

    fail_at: str = ""
    init_s: float = 400.0
    clock: Clock = field(default_factory=Clock)
    lit: set[UUID] = field(default_factory=set)
    running: dict[str, float] = field(default_factory=dict)
    diary: list[str] = field(default_factory=list)
    states: list[TurnState] = field(default_factory=list)
    dies_after_s: float = 1e9
    unanswered: int = 0

    def do(self, what: str) -> None:
        if what == self.fail_at:
            raise ProblemError(f"{what} went wrong", next_step="mend it")
        self.diary.append(what)

    def connect(self, turn_id: UUID, link: str) -> float:
        self.do("connect")
        self.lit.add(turn_id)
        return 2.548

    def release(self, turn_id: UUID) -> None:
        self.diary.append("release")
        self.lit.discard(turn_id)

    def serve_waiting(self, link: str) -> int:
        return 0

    def drain(self, link: str) -> int:
        self.do("drain")
        return 42

    def settle(self, link: str) -> None:
        self.diary.append("settle")

    def enter(self, turn_id: UUID, state: TurnState, detail: str = "") -> None:
        self.states.append(state)

    def measured(self, turn_id: UUID, reading: UnitReading) -> None:
        self.diary.append(f"rate {reading.secret_key_rate_bps:g}")

    def unit(self, name: str) -> UnitOf:
        return UnitOf(self, name)

    def pair(self) -> Pair:
        return Pair("alice--bob-1", self.unit("alice"), self.unit("bob"))

    def run(self, dwell_s: float = 600.0, stop: threading.Event | None = None) -> int:
        runner = TurnRunner(self, self, self, self.clock, TurnLimits())
        return runner.run(
            uuid4(), self.pair(), fencing=1, dwell_s=dwell_s, stop=stop or threading.Event()
        )


@dataclass
class UnitOf:
    house: House
    name: str

    def start(self, turn_id: UUID, fencing: int, *, loss_db: float) -> None:
        self.house.do(f"start {self.name}")
        self.house.running[self.name] = self.house.clock.elapsed_s

    def read(self) -> UnitReading:
        if self.house.unanswered > 0:
            self.house.unanswered -= 1
            raise ProblemError("nobody answers", next_step="look at the network")
        since = self.house.running.get(self.name)
        if since is None:
            return UnitReading(False, False, True, "not running")
        age = self.house.clock.elapsed_s - since
        if age > self.house.dies_after_s:
            return UnitReading(False, False, True, "QKDSequence ended with code 1")
        return UnitReading(True, age >= self.house.init_s, False, "", 2453.0, 1.2)

    def stop(self, turn_id: UUID, fencing: int) -> None:
        self.house.diary.append(f"stop {self.name}")
        self.house.running.pop(self.name, None)


def test_a_turn_passes_all_states_in_order() -> None:
    house = House()
    assert house.run() == 42
    assert house.states == [
        TurnState.CONNECTING,
        TurnState.STANDBY,
        TurnState.INITIALISING,
        TurnState.GENERATING,
        TurnState.DRAINING,
        TurnState.DONE,
    ]
    assert house.diary.index("start bob") < house.diary.index("start alice")
    assert house.diary.index("drain") < house.diary.index("stop alice"), "keys die with their unit"
    assert house.clock.elapsed_s >= 400 + 600
    assert not house.lit
    assert not house.running


def test_a_long_turn_brings_keys_before_its_end() -> None:
    house = House()
    assert house.run(dwell_s=3000.0) == 5 * 42
    assert house.diary.count("drain") == 5
    short = House()
    short.run(dwell_s=600.0)
    assert short.diary.count("drain") == 1


@pytest.mark.parametrize("fail_at", ["connect", "start bob", "start alice", "drain"])
def test_a_failure_leaves_nothing_lit_and_nothing_running(fail_at: str) -> None:
    house = House(fail_at=fail_at)
    with pytest.raises(TurnFailedError, match=f"{fail_at} went wrong"):
        house.run()
    assert house.states[-1] is TurnState.FAILED
    assert not house.lit
    assert not house.running
    assert house.diary[-1] == "settle"


def test_an_initialisation_that_never_ends_is_given_up() -> None:
    house = House(init_s=1e9)
    with pytest.raises(TurnFailedError, match="not ready after 3600 s"):
        house.run()
    assert not house.lit


def test_a_unit_that_dies_while_generating_ends_the_turn() -> None:
    house = House(dies_after_s=500)
    with pytest.raises(TurnFailedError, match="ended with code 1"):
        house.run()
    assert not house.lit


def test_a_few_missing_answers_do_not_end_a_turn() -> None:
    assert House(unanswered=3).run() == 42
    with pytest.raises(TurnFailedError, match="nobody answers"):
        House(unanswered=1000).run()


def test_a_stop_is_obeyed() -> None:
    stop = threading.Event()
    stop.set()
    house = House()
    with pytest.raises(TurnFailedError, match="stopped"):
        house.run(stop=stop)
    assert not house.running


def test_the_table_of_states_is_whole() -> None:
    assert set(MEANING) == set(NEXT) == set(TurnState)
    reachable = {TurnState.WAITING}.union(*NEXT.values())
    assert reachable == set(TurnState)
    assert all(not NEXT[state] for state in FINAL)
    assert all(TurnState.FAILED in NEXT[state] for state in TurnState if state not in FINAL)
