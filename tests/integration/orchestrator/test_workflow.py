"""Operations run, fail, are undone and go on after a crash, on SQLite and MariaDB."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text
from taskflow.storage import Storage
from workshop import PassesBy, PowerCut, Workshop

from orchestrator.events.bus import CircuitReleased
from orchestrator.vnf_lcm.states import (
    DEPLOYMENT_MEANING,
    OPERATION_MEANING,
    STEP_MEANING,
    UNDER_WAY,
    DeploymentState,
    OperationState,
    StepState,
)
from problem_details import ProblemError


@pytest.fixture
def workshop(engine: Engine, database_url: str) -> Iterator[Workshop]:
    workshop = Workshop(engine, database_url)
    yield workshop
    workshop.close()


@pytest.mark.parametrize(
    ("states", "meaning"),
    [
        (DeploymentState, DEPLOYMENT_MEANING),
        (OperationState, OPERATION_MEANING),
        (StepState, STEP_MEANING),
    ],
)
def test_every_state_has_a_meaning(states: Any, meaning: Any) -> None:
    assert set(states) == set(meaning)


def test_all_steps_in_order(workshop: Workshop) -> None:
    operation_id = workshop.record()
    workshop.runner().start()
    row = workshop.await_end(operation_id)
    assert row.state == OperationState.COMPLETED
    assert workshop.diary.lines == ["one", "two", "three"]
    assert workshop.states(operation_id) == ["DONE"] * 3
    assert workshop.journal.steps(operation_id)[0].detail == {"did": "one"}
    assert row.started_at is not None
    assert row.ended_at is not None


def test_a_failed_step_undoes_all_before_it_last_first(workshop: Workshop) -> None:
    workshop.diary.faults["two"] = [ProblemError("no paper", next_step="buy some")]
    operation_id = workshop.record()
    workshop.runner().start()
    row = workshop.await_end(operation_id)
    assert row.state == OperationState.ROLLED_BACK
    assert row.error is not None
    assert row.error["detail"] == "no paper"
    assert row.error["next_step"] == "buy some"
    assert workshop.diary.lines == ["one", "undo two", "undo one"]
    assert workshop.states(operation_id) == ["UNDONE", "UNDONE", "PENDING"]


def test_a_bug_in_a_step_is_undone_and_on_record(workshop: Workshop) -> None:
    workshop.diary.faults["three"] = [ZeroDivisionError("1/0")]
    operation_id = workshop.record()
    workshop.runner().start()
    row = workshop.await_end(operation_id)
    assert row.state == OperationState.ROLLED_BACK
    assert "ZeroDivisionError" in str(row.error)
    assert workshop.diary.lines == ["one", "two", "undo three", "undo two", "undo one"]


def test_what_cannot_be_undone_now_is_tried_again(workshop: Workshop) -> None:
    workshop.diary.faults["three"] = [ProblemError("broken")]
    workshop.diary.faults["undo two"] = [ProblemError("away"), ProblemError("still away")]
    operation_id = workshop.record()
    workshop.runner().start()
    row = workshop.await_end(operation_id)
    assert row.state == OperationState.ROLLED_BACK
    assert workshop.diary.lines == ["one", "two", "undo three", "undo one", "undo two"]
    assert "UNDO_PENDING" not in workshop.states(operation_id)


def test_a_neighbour_that_is_just_away_is_waited_for(workshop: Workshop) -> None:
    workshop.diary.faults["two"] = [PassesBy("restarting"), PassesBy("restarting")]
    operation_id = workshop.record()
    workshop.runner().start()
    assert workshop.await_end(operation_id).state == OperationState.COMPLETED
    assert workshop.journal.steps(operation_id)[1].runs == 1


def test_patience_ends(workshop: Workshop) -> None:
    workshop.diary.faults["one"] = [PassesBy("gone for good")] * 1000
    operation_id = workshop.record(OperationState.PROCESSING)
    assert workshop.flow_engine(limit_s=0.05).run(operation_id, workshop.steps) is False


@pytest.mark.parametrize("at", ["one", "two", "three", "undo two", "undo one"])
def test_a_crash_at_any_moment_is_survived(workshop: Workshop, at: str) -> None:
    if at.startswith("undo"):
        workshop.diary.faults["three"] = [ProblemError("broken")]
    workshop.diary.faults[at] = [PowerCut()]
    operation_id = workshop.record(OperationState.PROCESSING)
    with pytest.raises(PowerCut):
        workshop.flow_engine().run(operation_id, workshop.steps)
    workshop.runner().start()
    row = workshop.await_end(operation_id)
    if at.startswith("undo"):
        assert row.state == OperationState.ROLLED_BACK
        assert workshop.diary.lines[:2] == ["one", "two"]
        assert workshop.diary.lines[2:] == ["undo three", "undo two", "undo one"]
        assert workshop.states(operation_id) == ["UNDONE"] * 3
    else:
        assert row.state == OperationState.COMPLETED
        assert workshop.diary.lines == ["one", "two", "three"], "no step ran twice to effect"


def test_a_crash_while_the_engine_makes_its_own_record_is_survived(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation_id = workshop.record(OperationState.PROCESSING)
    save = Storage._save_atom_detail

    def cut(storage: Storage, connection: Any, source: Any, clone: Any) -> Any:
        if source.name == Storage.injector_name:
            raise PowerCut
        return save(storage, connection, source, clone)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "_save_atom_detail", cut)
        with pytest.raises(PowerCut):
            workshop.flow_engine().run(operation_id, workshop.steps)
    workshop.runner().start()
    assert workshop.await_end(operation_id).state == OperationState.COMPLETED
    assert workshop.diary.lines == ["one", "two", "three"]


def test_an_end_that_was_not_recorded_is_recorded_at_the_next_start(workshop: Workshop) -> None:
    done = workshop.record(OperationState.PROCESSING)
    assert workshop.flow_engine().run(done, workshop.steps) is True
    workshop.diary.faults["two"] = [ProblemError("broken")]
    failed = workshop.record(OperationState.PROCESSING)
    assert workshop.flow_engine().run(failed, workshop.steps) is False
    did = list(workshop.diary.lines)
    workshop.runner().start()
    assert workshop.await_end(done).state == OperationState.COMPLETED
    assert workshop.await_end(failed).state == OperationState.ROLLED_BACK
    assert workshop.diary.lines == did, "a flow that ended is never run again"


def test_a_crash_after_an_end_leaves_no_record_of_taskflows(workshop: Workshop) -> None:
    over, going_on = (workshop.record(OperationState.PROCESSING) for _ in range(2))
    workshop.flow_engine().run(over, workshop.steps)
    workshop.journal.move(over, OperationState.COMPLETED, allowed=UNDER_WAY)
    workshop.diary.faults["two"] = [PowerCut()]
    with pytest.raises(PowerCut):
        workshop.flow_engine().run(going_on, workshop.steps)
    workshop.flow_engine().settle()
    with workshop.engine.connect() as connection:
        kept = connection.scalars(text("SELECT name FROM logbooks")).all()
    assert kept == [f"operation {going_on}"]


def test_waiting_operations_are_looked_at_when_something_is_freed(workshop: Workshop) -> None:
    workshop.admitted.clear()
    operation_id = workshop.record()
    workshop.runner().start()
    assert workshop.journal.get(operation_id).state == OperationState.STARTING
    workshop.admitted.set()
    workshop.bus.publish(CircuitReleased())
    assert workshop.await_end(operation_id).state == OperationState.COMPLETED


def test_many_operations_at_once(workshop: Workshop) -> None:
    operations = [workshop.record() for _ in range(12)]
    workshop.runner().start()
    for operation_id in operations:
        assert workshop.await_end(operation_id, 90).state == OperationState.COMPLETED
    assert len(workshop.diary.lines) == 36
    assert workshop.journal.counts() == {"COMPLETED": 12}


def test_a_state_moves_only_from_where_it_may(workshop: Workshop) -> None:
    operation_id = workshop.record()
    move: Callable[..., bool] = workshop.journal.move
    allowed = (OperationState.PROCESSING,)
    assert move(operation_id, OperationState.COMPLETED, allowed=allowed) is False
    assert workshop.journal.get(operation_id).state == OperationState.STARTING


def test_a_bug_in_an_undo_keeps_no_other_step_from_being_undone(workshop: Workshop) -> None:
    workshop.diary.faults["three"] = [ProblemError("broken")]
    workshop.diary.faults["undo two"] = [ZeroDivisionError("1/0")]
    operation_id = workshop.record()
    workshop.runner().start()
    assert workshop.await_end(operation_id).state == OperationState.ROLLED_BACK
    assert workshop.diary.lines == ["one", "two", "undo three", "undo one", "undo two"]
    assert workshop.states(operation_id) == ["UNDONE"] * 3


def test_all_is_undone_when_the_engines_own_store_fails(workshop: Workshop) -> None:
    def lose_the_store() -> None:
        with workshop.engine.begin() as connection:
            connection.execute(text("DROP TABLE atomdetails"))

    workshop.diary.accidents["two"] = lose_the_store
    operation_id = workshop.record()
    workshop.runner().start()
    assert workshop.await_end(operation_id).state == OperationState.ROLLED_BACK
    assert workshop.diary.lines[-2:] == ["undo two", "undo one"]
    assert "DONE" not in workshop.states(operation_id)


def test_what_was_reserved_for_an_undone_operation_is_given_back(workshop: Workshop) -> None:
    workshop.diary.faults["one"] = [ProblemError("broken")]
    failed = workshop.record()
    done = workshop.record()
    workshop.runner().start()
    by_id = {row: workshop.await_end(row).state for row in (failed, done)}
    assert sorted(by_id.values()) == ["COMPLETED", "ROLLED_BACK"]
    assert workshop.withdrawn == [i for i, state in by_id.items() if state == "ROLLED_BACK"]


def test_what_cannot_be_undone_holds_no_worker(workshop: Workshop) -> None:
    workshop.diary.faults["three"] = [ProblemError("broken")] * 4
    workshop.diary.faults["undo one"] = [ProblemError("away for good")] * 1000
    stuck = [workshop.record() for _ in range(4)]  # as many as there are workers
    workshop.runner().start()
    assert wait_until(lambda: all("UNDO_PENDING" in workshop.states(o) for o in stuck))
    other = workshop.record()
    assert workshop.await_end(other, 10).state == OperationState.COMPLETED
    assert workshop.journal.counts() == {"COMPLETED": 1, "ROLLING_BACK": 4}


def test_an_operation_whose_worker_broke_goes_on_without_a_restart(workshop: Workshop) -> None:
    workshop.diary.faults["two"] = [PowerCut()]
    operation_id = workshop.record()
    workshop.runner().start()
    assert workshop.await_end(operation_id).state == OperationState.COMPLETED
    assert workshop.diary.lines == ["one", "two", "three"]


def test_one_operation_that_cannot_be_looked_at_stops_no_other(workshop: Workshop) -> None:
    workshop.poisoned.add(workshop.record())
    other = workshop.record()
    workshop.runner().start()
    assert workshop.await_end(other, 10).state == OperationState.COMPLETED


def wait_until(holds: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    """Poll what has no event of its own."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            return False
        threading.Event().wait(0.02)
    return True
