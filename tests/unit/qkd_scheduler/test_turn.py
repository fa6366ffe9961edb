"""A turn of Alice: order of steps, and that nothing stays behind when one fails."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from key_management.errors import KeyAgreementError
from problem_details import ProblemError
from qkd_scheduler.errors import TurnFailedError, UnitSilentError
from qkd_scheduler.faults import MEANING as FAULTS
from qkd_scheduler.faults import Fault
from qkd_scheduler.measurements import Measured, UnitReading
from qkd_scheduler.ports import Pair
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
    error: type[ProblemError] = ProblemError
    init_s: float = 400.0
    clock: Clock = field(default_factory=Clock)
    lit: set[UUID] = field(default_factory=set)
    running: dict[str, float] = field(default_factory=dict)
    diary: list[str] = field(default_factory=list)
    states: list[TurnState] = field(default_factory=list)
    fault: Fault | None = None
    measured_: Measured | None = None
    dies_after_s: float = 1e9
    dark_after_s: float = 1e9
    cut_after_s: float = 1e9
    mute_after_s: float = 1e9
    qber_of: dict[str, list[float]] = field(default_factory=dict)
    at_most: list[int] = field(default_factory=list)
    unanswered: int = 0
    silent: str = ""

    def do(self, what: str) -> None:
        if what == self.fail_at:
            raise self.error(f"{what} went wrong", next_step="mend it")
        self.diary.append(what)

    def connect(self, turn_id: UUID, link: str) -> float:
        self.do("connect")
        self.lit.add(turn_id)
        return 2.548

    def loss_of_light(self, turn_id: UUID) -> str | None:
        if self.clock.elapsed_s < self.cut_after_s:
            return None
        return "the light is lost at polatis-1:4"

    def release(self, turn_id: UUID) -> None:
        self.diary.append("release")
        self.lit.discard(turn_id)

    def serve_waiting(self, link: str, turn_id: UUID) -> int:
        return 0

    def drain(self, link: str, turn_id: UUID, *, at_most: int) -> int:
        self.do("drain")
        self.at_most.append(at_most)
        return 42

    def quarantine(self, link: str, turn_id: UUID, reason: str) -> int:
        self.do("quarantine")
        return 7

    def settle(self, link: str) -> None:
        self.diary.append("settle")

    def enter(
        self, turn_id: UUID, state: TurnState, detail: str = "", *, fault: Fault | None = None
    ) -> None:
        self.states.append(state)
        self.fault = fault

    def measured(self, turn_id: UUID, measured: Measured) -> None:
        self.measured_ = measured

    def gained(self, turn_id: UUID, keys: int) -> None:
        self.diary.append(f"gained {keys}")

    def unit(self, name: str) -> UnitOf:
        return UnitOf(self, name)

    def pair(self) -> Pair:
        return Pair("alice--bob-1", self.unit("alice"), self.unit("bob"))

    def run(
        self,
        dwell_s: float = 600.0,
        stop: threading.Event | None = None,
        finish: threading.Event | None = None,
    ) -> int:
        runner = TurnRunner(self, self, self, self.clock, TurnLimits())
        return runner.run(
            uuid4(),
            self.pair(),
            fencing=1,
            dwell_s=dwell_s,
            stop=stop or threading.Event(),
            finish=finish,
        )


@dataclass
class UnitOf:
    house: House
    name: str

    def start(self, turn_id: UUID, fencing: int, *, loss_db: float) -> None:
        self.house.do(f"start {self.name}")
        self.house.running[self.name] = self.house.clock.elapsed_s

    def read(self) -> UnitReading:
        house = self.house
        if house.silent == self.name:
            raise UnitSilentError("nobody answers", next_step="look at the network")
        if house.unanswered > 0:
            house.unanswered -= 1
            raise ProblemError("nobody answers", next_step="look at the network")
        since = house.running.get(self.name)
        if since is None:
            return UnitReading(False, False, True, "not running")
        age = house.clock.elapsed_s - since
        if age > house.dies_after_s:
            return UnitReading(False, False, True, "QKDSequence ended with code 1")
        if age > house.dark_after_s:
            return UnitReading(True, False, False, "the unit is initialising")
        last_block_s = min(age, house.mute_after_s) // 20 * 20
        block_at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=last_block_s)
        qbers = house.qber_of.get(self.name, [])
        generating = age >= house.init_s
        qber = qbers.pop(0) if qbers and generating else 0.012
        return UnitReading(True, generating, False, "", 2453.0, qber, block_at)

    def stop(self, turn_id: UUID, fencing: int) -> None:
        self.house.diary.append(f"stop {self.name}")
        self.house.running.pop(self.name, None)


def test_a_turn_passes_all_states_in_order() -> None:
    house = House()
    assert house.run() == 2 * 42
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
    assert house.run(dwell_s=3000.0) == 6 * 42
    assert house.diary.count("drain") == 6, "as soon as there are keys, then every ten minutes"
    assert house.diary.index("gained 42") < house.diary.index("gained 252")


def test_a_drain_takes_no_more_than_the_units_can_have_made() -> None:
    house = House()
    house.run(dwell_s=3000.0)
    assert house.at_most == sorted(house.at_most)
    assert house.at_most[-1] < 1.05 * 2453.0 * house.clock.elapsed_s / 256


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
    assert house.fault is Fault.INITIALISATION


def test_a_unit_that_dies_while_generating_ends_the_turn() -> None:
    house = House(dies_after_s=500)
    with pytest.raises(TurnFailedError, match="ended with code 1"):
        house.run()
    assert not house.lit
    assert house.fault is Fault.UNIT_FAILED
    assert "quarantine" not in house.diary


def test_a_line_that_goes_dark_ends_the_turn() -> None:
    house = House(dark_after_s=700)
    with pytest.raises(TurnFailedError, match="stopped generating"):
        house.run()
    assert house.fault is Fault.LIGHT_LOST
    assert not house.lit


@pytest.mark.parametrize("cut_after_s", [100.0, 700.0])
def test_a_fibre_that_the_switch_knows_to_be_lost_ends_the_turn_at_once(
    cut_after_s: float,
) -> None:
    house = House(cut_after_s=cut_after_s)
    with pytest.raises(TurnFailedError, match="light is lost at polatis-1:4"):
        house.run()
    assert house.fault is Fault.LIGHT_LOST
    assert not house.lit
    assert house.clock.elapsed_s < cut_after_s + 60


def test_a_unit_that_tells_no_block_any_more_is_taken_for_dark() -> None:
    house = House(mute_after_s=700)
    with pytest.raises(TurnFailedError, match="no block for 3600 s"):
        house.run(dwell_s=20_000.0)
    assert house.fault is Fault.LIGHT_LOST
    assert house.clock.elapsed_s < 700 + 3600 + 100


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_an_error_rate_above_the_threshold_ends_the_turn_and_quarantines_its_keys(who: str) -> None:
    house = House(qber_of={who: [0.02, 0.03, 0.079, 0.081]})
    with pytest.raises(TurnFailedError, match=r"QBER is 8\.10%") as raised:
        house.run()
    assert raised.value.fault is house.fault is Fault.QBER
    assert house.diary.index("quarantine") < house.diary.index("stop alice")
    assert not house.lit
    assert not house.running


def test_a_bad_block_after_the_last_look_is_not_missed() -> None:
    house = House()
    readings = 1 + int(600 / 20) + 1  # the end of the initialisation, then each of the dwell
    house.qber_of = {"alice": [0.01] * readings + [0.2]}
    with pytest.raises(TurnFailedError, match=r"draining: the QBER is 20\.00%"):
        house.run()
    assert "quarantine" in house.diary


def test_keys_that_disagree_quarantine_the_whole_turn() -> None:
    house = House(fail_at="drain", error=KeyAgreementError)
    with pytest.raises(TurnFailedError, match="7 keys of this turn are quarantined"):
        house.run()
    assert house.fault is Fault.KEYS_DISAGREE


def test_a_quarantine_that_fails_is_told_and_the_light_goes_out() -> None:
    house = House(fail_at="quarantine", qber_of={"alice": [0.5] * 9})
    with pytest.raises(TurnFailedError, match="quarantine is not complete"):
        house.run()
    assert house.states[-1] is TurnState.FAILED
    assert not house.lit


def test_what_a_turn_measured_is_kept() -> None:
    house = House(qber_of={"alice": [0.03, 0.02, 0.04, 0.03]})
    house.run(dwell_s=40.0)
    measured = house.measured_
    assert measured is not None
    assert measured.mean_rate_bps == 2453.0
    assert (measured.least_qber, measured.largest_qber) == (0.02, 0.04)


def test_a_turn_can_be_finished_early_with_its_keys() -> None:
    finish = threading.Event()
    finish.set()
    house = House()
    assert house.run(dwell_s=1e6, finish=finish) == 42
    assert house.states[-1] is TurnState.DONE
    assert house.clock.elapsed_s < 1000


@pytest.mark.parametrize(
    ("who", "fault"), [("alice", Fault.ALICE_SILENT), ("bob", Fault.BOB_SILENT)]
)
def test_silence_is_blamed_on_who_is_silent(who: str, fault: Fault) -> None:
    house = House(silent=who)
    with pytest.raises(TurnFailedError, match="nobody answers"):
        house.run()
    assert house.fault is fault
    assert not house.lit


def test_a_few_missing_answers_do_not_end_a_turn() -> None:
    assert House(unanswered=3).run() == 2 * 42
    with pytest.raises(TurnFailedError, match="nobody answers"):
        House(unanswered=1000).run()


def test_a_stop_is_obeyed() -> None:
    stop = threading.Event()
    stop.set()
    house = House()
    with pytest.raises(TurnFailedError, match="stopped"):
        house.run(stop=stop)
    assert not house.running


def test_the_table_of_faults_is_whole() -> None:
    assert set(FAULTS) == set(Fault)


def test_the_table_of_states_is_whole() -> None:
    assert set(MEANING) == set(NEXT) == set(TurnState)
    reachable = {TurnState.WAITING}.union(*NEXT.values())
    assert reachable == set(TurnState)
    assert all(not NEXT[state] for state in FINAL)
    assert all(TurnState.FAILED in NEXT[state] for state in TurnState if state not in FINAL)
