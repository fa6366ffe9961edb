"""Operations that are held, tried again, rolled back, given up and cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, update
from workshop import PowerCut, Workshop

from database import open_engine, writing
from orchestrator.errors import OperationStateError
from orchestrator.store.tables import OperationRow, migrate_orchestrator
from orchestrator.vnf_lcm.states import (
    OnFailure,
    OperationAction,
    OperationState,
    allowed_actions,
)
from problem_details import ProblemError

HELD, HOLD = OperationState.FAILED_TEMP, OnFailure.HOLD


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    url = f"sqlite:///{tmp_path / 'held.sqlite'}"
    engine = open_engine(url)
    migrate_orchestrator(engine)
    workshop = Workshop(engine, url)
    yield workshop
    workshop.close()
    engine.dispose()


def begin_again_and_end(workshop: Workshop) -> None:
    workshop.diary.faults["two"] = [ProblemError("no paper", next_step="buy some")]
    operation_id = workshop.record(on_failure=HOLD)
    runner = workshop.runner()
    runner.start()
    held = workshop.await_state(operation_id, HELD)
    assert held.error is not None
    assert held.error["detail"] == "no paper"
    assert held.ended_at is None
    assert workshop.states(operation_id) == ["DONE", "UNDONE", "PENDING"]
    workshop.actions(runner).retry(operation_id)
    ended = workshop.await_end(operation_id)
    assert (ended.state, ended.tries, ended.error) == (OperationState.COMPLETED, 2, None)
    assert workshop.diary.lines == ["one", "undo two", "two", "three"]
    assert [row.runs for row in workshop.journal.steps(operation_id)] == [1, 2, 1]


def test_a_held_operation_is_tried_again_from_where_it_stands(
    engine: Engine, database_url: str
) -> None:
    workshop = Workshop(engine, database_url)
    begin_again_and_end(workshop)
    workshop.close()


def test_a_retry_that_fails_is_held_again(workshop: Workshop) -> None:
    workshop.diary.faults["two"] = [ProblemError("once"), ProblemError("twice")]
    operation_id = workshop.record(on_failure=HOLD)
    runner = workshop.runner()
    runner.start()
    workshop.await_state(operation_id, HELD)
    workshop.actions(runner).retry(operation_id)
    workshop.await_state(operation_id, OperationState.PROCESSING)
    held = workshop.await_state(operation_id, HELD)
    assert held.error is not None
    assert held.error["detail"] == "twice"
    assert held.tries == 2


def test_a_held_operation_is_rolled_back(workshop: Workshop) -> None:
    workshop.diary.faults["three"] = [ProblemError("broken")]
    operation_id = workshop.record(on_failure=HOLD)
    runner = workshop.runner()
    runner.start()
    workshop.await_state(operation_id, HELD)
    assert workshop.diary.lines == ["one", "two", "undo three"]
    workshop.actions(runner).rollback(operation_id)
    assert workshop.await_end(operation_id).state == OperationState.ROLLED_BACK
    assert workshop.diary.lines[3:] == ["undo two", "undo one"]


def test_a_held_operation_is_given_up_as_it_is(workshop: Workshop) -> None:
    workshop.diary.faults["three"] = [ProblemError("broken")]
    operation_id = workshop.record(on_failure=HOLD)
    runner = workshop.runner()
    runner.start()
    workshop.await_state(operation_id, HELD)
    workshop.actions(runner).fail(operation_id)
    ended = workshop.await_end(operation_id)
    assert ended.state == OperationState.FAILED
    assert ended.ended_at is not None
    assert workshop.withdrawn == [operation_id]
    assert workshop.diary.lines == ["one", "two", "undo three"], "what was made stays"


def test_what_was_given_up_just_before_a_crash_gives_its_keys_back(workshop: Workshop) -> None:
    operation_id = workshop.record(OperationState.PROCESSING, HOLD)
    workshop.journal.move(operation_id, HELD, allowed=(OperationState.PROCESSING,))
    workshop.journal.move(operation_id, OperationState.FAILED, allowed=(HELD,))
    workshop.actions(workshop.runner()).settle()
    assert workshop.withdrawn == [operation_id]


def test_what_cannot_be_undone_is_held_and_not_forgotten(workshop: Workshop) -> None:
    workshop.diary.faults["two"] = [ProblemError("broken"), ProblemError("broken again")]
    workshop.diary.faults["undo two"] = [ProblemError("away")] * 2
    operation_id = workshop.record(on_failure=HOLD)
    runner = workshop.runner()
    runner.start()
    workshop.await_state(operation_id, HELD)
    assert workshop.states(operation_id) == ["DONE", "UNDO_PENDING", "PENDING"]
    workshop.admitted.clear()  # so that the retry does not come to do it
    workshop.actions(runner).retry(operation_id)
    workshop.actions(runner).cancel(operation_id)
    workshop.await_state(operation_id, HELD)
    workshop.actions(runner).rollback(operation_id)
    assert workshop.await_end(operation_id).state == OperationState.ROLLED_BACK
    assert workshop.diary.lines == ["one", "undo one", "undo two"]


def test_each_action_is_possible_where_the_table_says_and_nowhere_else(workshop: Workshop) -> None:
    actions = workshop.actions(workshop.runner())
    for state in OperationState:
        for action in OperationAction:
            operation_id = workshop.record()
            with writing(workshop.engine) as session:
                session.execute(
                    update(OperationRow)
                    .where(OperationRow.operation_id == operation_id)
                    .values(state=state.value)
                )
            ask = getattr(actions, action.value)
            if action in allowed_actions(state):
                ask(operation_id)
                continue
            with pytest.raises(OperationStateError) as refused:
                ask(operation_id)
            assert refused.value.extensions["state"] == state.value
            assert refused.value.extensions["allowed_actions"] == allowed_actions(state)
            assert workshop.journal.get(operation_id).state == state


def test_what_waits_is_cancelled(workshop: Workshop) -> None:
    workshop.admitted.clear()
    operation_id = workshop.record()
    runner = workshop.runner()
    runner.start()
    workshop.actions(runner).cancel(operation_id)
    ended = workshop.await_end(operation_id)
    assert ended.state == OperationState.ROLLED_BACK
    assert ended.error is not None
    assert ended.error["type"].endswith("operation-cancelled")
    assert workshop.withdrawn == [operation_id]
    assert workshop.diary.lines == []


@pytest.mark.parametrize(
    ("on_failure", "state"),
    [(OnFailure.ROLLBACK, OperationState.ROLLED_BACK), (OnFailure.HOLD, HELD)],
)
def test_a_step_that_waits_for_others_is_cut_short(
    workshop: Workshop, on_failure: OnFailure, state: OperationState
) -> None:
    operation_id = workshop.record(on_failure=on_failure)
    runner = workshop.runner()
    # As a step does that is told by its neighbour that the connection ended.
    workshop.diary.accidents["two"] = lambda: _wait_until_ended(workshop, operation_id)
    workshop.diary.faults["two"] = [ProblemError("the connection was reset")]
    runner.start()
    workshop.await_running(operation_id, "two")
    workshop.actions(runner).cancel(operation_id)
    row = workshop.await_state(operation_id, state)
    assert row.error is not None
    assert row.error["type"].endswith("operation-cancelled"), "the cause, not its effect"


def _wait_until_ended(workshop: Workshop, operation_id: UUID) -> None:
    wish = workshop.cancellations.wish(operation_id)
    assert wish.wait(30)


def test_a_cancellation_survives_a_crash(workshop: Workshop) -> None:
    operation_id = workshop.record(OperationState.PROCESSING)
    assert workshop.journal.request_cancel(operation_id)
    workshop.runner().start()  # a new process, in whose memory there is no wish
    assert workshop.await_end(operation_id).state == OperationState.ROLLED_BACK
    assert workshop.diary.lines == []


def test_a_crash_between_failure_and_hold_is_held_and_not_done_again(workshop: Workshop) -> None:
    workshop.diary.faults["two"] = [ProblemError("broken")]
    operation_id = workshop.record(OperationState.PROCESSING, HOLD)
    assert workshop.flow_engine().run(operation_id, workshop.steps) is False
    assert workshop.journal.get(operation_id).state == OperationState.PROCESSING
    workshop.runner().start()
    workshop.await_state(operation_id, HELD)
    assert workshop.diary.lines == ["one", "undo two"]


@pytest.mark.parametrize("at", ["two", "three"])
def test_a_crash_in_a_retry_is_survived(workshop: Workshop, at: str) -> None:
    workshop.diary.faults["two"] = [ProblemError("broken")]
    operation_id = workshop.record(OperationState.PROCESSING, HOLD)
    runner = workshop.runner()
    workshop.flow_engine().run(operation_id, workshop.steps)
    workshop.journal.move(operation_id, HELD, allowed=(OperationState.PROCESSING,))
    workshop.actions(runner).retry(operation_id)
    workshop.journal.move(
        operation_id, OperationState.PROCESSING, allowed=(OperationState.STARTING,)
    )
    workshop.diary.faults[at] = [PowerCut()]
    with pytest.raises(PowerCut):
        workshop.flow_engine().run(operation_id, workshop.steps)
    runner.start()
    assert workshop.await_end(operation_id).state == OperationState.COMPLETED
    assert workshop.diary.lines == ["one", "two", "three"], "no step ran twice to effect"


def test_a_refused_retry_does_not_lose_the_cancellation(workshop: Workshop) -> None:
    operation_id = workshop.record()
    runner = workshop.runner()
    actions = workshop.actions(runner)

    def cancelled_and_asked_again() -> None:
        actions.cancel(operation_id)
        with pytest.raises(OperationStateError):
            actions.retry(operation_id)
        assert workshop.cancellations.wish(operation_id).is_set()

    workshop.diary.accidents["two"] = cancelled_and_asked_again
    runner.start()
    assert workshop.await_end(operation_id).state == OperationState.ROLLED_BACK
    assert "three" not in workshop.diary.lines


def test_a_cancelled_try_leaves_no_wish_to_the_next(workshop: Workshop) -> None:
    operation_id = workshop.record(on_failure=HOLD)
    runner = workshop.runner()
    actions = workshop.actions(runner)
    workshop.diary.accidents["two"] = lambda: actions.cancel(operation_id)
    runner.start()
    workshop.await_state(operation_id, HELD)
    actions.retry(operation_id)
    assert workshop.await_end(operation_id).state == OperationState.COMPLETED
