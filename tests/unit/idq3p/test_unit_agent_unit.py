"""A unit's turns, with a scripted program and with real children."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from idq3p.unit_agent.contract import Phase, StartRequest, StopRequest
from idq3p.unit_agent.errors import (
    AgentStateError,
    ProgramStartError,
    StaleFencingError,
    UnfitRequestError,
    UnitBusyError,
)
from idq3p.unit_agent.settings import UnitAgentSettings
from idq3p.unit_agent.unit import QkdUnit

RATE = "2026-01-01 00:00:00 INFO PrivacyAmplification: Secret Key Rate = 2453.1\n"


class ScriptedProgram:
    """Does what the test tells it."""

    def __init__(self, command: Sequence[str], output: Path, grace_s: float) -> None:
        self.command = list(command)
        self.status: int | None = None
        self.stopped = False

    def exit_status(self) -> int | None:
        return self.status

    def stop(self) -> None:
        self.stopped = True

    def last_words(self) -> str:
        return "laser not found"


class Stage:
    """A unit whose programs are scripted."""

    def __init__(self, folder: Path, role: str, command: list[str] | None = None) -> None:
        self.settings = UnitAgentSettings(
            name="unit-1",
            role=role,
            emulated=True,
            port=0,
            credentials={"certificate": "c", "key": "k", "authority": "a"},
            state_dir=folder / "state",
            command=command or ["QKDSequence"],
            log_file=folder / "qkd.log",
            idq3p_address="127.0.0.1",
            log_poll_s=0.01,
            stop_grace_s=1,
        )
        self.programs: list[ScriptedProgram] = []
        self.unit = QkdUnit(
            self.settings, **({} if command else {"start_program": self._start_scripted})
        )

    def _start_scripted(
        self, command: Sequence[str], output: Path, grace_s: float
    ) -> ScriptedProgram:
        self.programs.append(ScriptedProgram(command, output, grace_s))
        return self.programs[-1]

    def log(self, text: str) -> None:
        with self.settings.log_file.open("a") as file:
            file.write(text)


Opener = Callable[..., Stage]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Opener]:
    stages: list[Stage] = []

    def open_stage(role: str = "bob", command: list[str] | None = None) -> Stage:
        stages.append(Stage(tmp_path, role, command))
        return stages[-1]

    yield open_stage
    for opened in stages:
        opened.unit.close()


def start(fencing: int = 1, turn_id: UUID | None = None) -> StartRequest:
    return StartRequest(turn_id=turn_id or uuid4(), fencing=fencing)


def test_a_turn_from_start_to_stop(stage: Opener) -> None:
    opened = stage("bob")
    opened.log("2026-01-01 00:00:00 INFO LineMeasurement: Line length: 1\n")
    request = StartRequest(turn_id=uuid4(), fencing=3, line_attenuation_db=4.5)
    view = opened.unit.start(request)
    assert (view.phase, view.turn_id, view.fencing) == (Phase.STARTING, request.turn_id, 3)
    assert view.emulated
    assert opened.programs[0].command == ["QKDSequence", "--bob", "--line_attenuation", "4.5"]
    opened.log("2026-01-01 00:00:00 INFO LineMeasurement: Line length: 5000\n")
    assert opened.unit.view().phase is Phase.INITIALISING
    opened.log(RATE)
    view = opened.unit.view()
    assert (view.phase, view.line_length_m, view.secret_key_rate_bps) == (
        Phase.GENERATING,
        5000,
        2453.1,
    )
    assert view.last_block_at is not None
    view = opened.unit.stop(StopRequest(turn_id=request.turn_id, fencing=3))
    assert (view.phase, view.turn_id, view.secret_key_rate_bps) == (Phase.STOPPED, None, None)
    assert opened.programs[0].stopped


def test_starting_twice_for_one_turn_starts_once(stage: Opener) -> None:
    opened = stage()
    request = start()
    opened.unit.start(request)
    opened.unit.start(request)
    assert len(opened.programs) == 1


def test_another_turn_is_refused_until_the_first_is_stopped(stage: Opener) -> None:
    opened = stage()
    request = start(1)
    opened.unit.start(request)
    with pytest.raises(UnitBusyError):
        opened.unit.start(start(2))
    with pytest.raises(UnitBusyError):
        opened.unit.stop(StopRequest(turn_id=uuid4(), fencing=2))
    assert opened.unit.view().turn_id == request.turn_id
    opened.unit.stop(StopRequest(turn_id=request.turn_id, fencing=2))
    opened.unit.start(start(2))
    assert len(opened.programs) == 2


def test_a_replaced_leader_is_refused_also_after_a_restart_of_the_agent(stage: Opener) -> None:
    opened = stage()
    request = start(5)
    opened.unit.start(request)
    with pytest.raises(StaleFencingError):
        opened.unit.stop(StopRequest(turn_id=request.turn_id, fencing=4))
    assert opened.unit.view().phase is Phase.STARTING
    opened.unit.close()
    successor = stage()
    with pytest.raises(StaleFencingError):
        successor.unit.start(start(4))
    assert successor.programs == []
    assert successor.unit.start(start(5)).phase is Phase.STARTING


def test_a_damaged_fencing_register_is_not_taken_for_an_empty_one(
    stage: Opener, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "fencing.json").write_text("{")
    with pytest.raises(AgentStateError):
        stage()


def test_requests_that_do_not_fit_the_role(stage: Opener) -> None:
    alice = stage("alice")
    with pytest.raises(UnfitRequestError):
        alice.unit.start(start())
    request = StartRequest(turn_id=uuid4(), fencing=1, bob_address="127.0.0.12")
    alice.unit.start(request)
    assert alice.programs[0].command == ["QKDSequence", "--alice", "--ip_bob", "127.0.0.12"]
    with pytest.raises(UnfitRequestError):
        stage("bob").unit.start(request)


def test_a_program_that_ends_by_itself_is_a_failure_with_its_words(stage: Opener) -> None:
    opened = stage()
    request = start()
    opened.unit.start(request)
    opened.log(RATE)
    opened.programs[0].status = 1
    view = opened.unit.view()
    assert view.phase is Phase.FAILED
    assert view.secret_key_rate_bps is None
    assert "status 1" in view.failure
    assert "laser not found" in view.failure
    opened.unit.start(request)
    assert opened.unit.view().phase is Phase.STARTING
    opened.log("2026-01-01 00:00:00 ERROR Laser: too warm\n")
    opened.programs[1].status = 2
    assert "too warm" in opened.unit.view().failure


# --- real children ------------------------------------------------------------------------------

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
while True: time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Whether the process still works (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    waiting = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        waiting.wait(0.01)


def child_of(opened: Stage) -> int:
    output = opened.settings.state_dir / "program.out"
    until(lambda: output.exists() and output.read_text().endswith("\n"))
    return int(output.read_text())


def supervisor_of(child: int) -> int:
    return int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_child_that_ignores_the_order_is_killed_after_the_grace(stage: Opener) -> None:
    opened = stage("bob", [sys.executable, "-c", STUBBORN])
    request = start()
    opened.unit.start(request)
    child = child_of(opened)
    opened.unit.stop(StopRequest(turn_id=request.turn_id, fencing=1))
    assert not alive(child)


def test_the_child_dies_with_its_supervisor(stage: Opener) -> None:
    opened = stage("bob", [sys.executable, "-c", STUBBORN])
    opened.unit.start(start())
    child = child_of(opened)
    os.kill(supervisor_of(child), signal.SIGKILL)
    until(lambda: not alive(child))
    until(lambda: opened.unit.view().phase is Phase.FAILED)


def test_the_child_outlives_the_thread_that_started_it(stage: Opener) -> None:
    opened = stage("bob", [sys.executable, "-c", STUBBORN])
    thread = threading.Thread(target=opened.unit.start, args=(start(),))
    thread.start()
    thread.join()
    child = child_of(opened)
    assert alive(child)
    assert opened.unit.view().phase is Phase.STARTING


def test_a_missing_program_is_a_failure_that_names_it(stage: Opener) -> None:
    opened = stage("bob", ["/nowhere/QKDSequence"])
    try:
        opened.unit.start(start())
    except ProgramStartError:
        return
    until(lambda: opened.unit.view().phase is Phase.FAILED)
    assert "/nowhere/QKDSequence" in opened.unit.view().failure
