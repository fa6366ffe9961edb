"""TaskFlow as we use it: one linear flow an operation, persisted after every task.

The flow is built anew by the process that runs it and joined with the stored flow detail of the
operation, so that tasks get their neighbours by injection and nothing is imported by path.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any
from uuid import UUID, uuid5

import structlog
from taskflow import engines, states, task
from taskflow import exceptions as taskflow_errors
from taskflow.patterns import linear_flow
from taskflow.persistence import models
from taskflow.persistence.backends.impl_sqlalchemy import SQLAlchemyBackend
from taskflow.persistence.base import Connection
from taskflow.storage import Storage

from database import open_engine
from orchestrator.statuses import problem_of
from orchestrator.vnf_lcm.states import ENDED, OnFailure, OperationState, StepState
from orchestrator.workflow.cancellation import Cancellations, cancelled
from orchestrator.workflow.journal import OperationJournal
from orchestrator.workflow.step import Step
from problem_details import Problem, ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)

_FLOW_NAME = "operation "


@dataclass(frozen=True)
class Patience:
    """How long a step is done again and again while a neighbour is just away.

    `is_transient` says of an error whether it may pass by itself (a service that is being
    restarted); `closing` ends all patience.
    """

    is_transient: Callable[[ProblemError], bool]
    clock: Clock
    closing: threading.Event
    limit_s: float = 30.0
    every_s: float = 0.5


class _StepTask(task.Task):  # type: ignore[misc]
    """A step in TaskFlow's clothes; writes users' truth into the journal."""

    def __init__(self, step: Step, journal: OperationJournal, trial: _Trial) -> None:
        super().__init__(name=step.name)
        self._step = step
        self._journal = journal
        self._trial = trial

    def execute(self, operation_id: str) -> None:
        identity = UUID(operation_id)
        if self._journal.step(identity, self.name).state == StepState.DONE:
            return  # in an earlier try, or just before a crash
        try:
            self._trial.cancellations.check(identity)
        except ProblemError as error:
            self._note_error(identity, problem_of(error))
            raise
        self._journal.step_begins(identity, self.name)
        try:
            detail = self._do_patiently(identity)
        except ProblemError as error:
            wished = self._trial.cancellations.wish(identity).is_set()
            told = cancelled() if wished else error
            self._note_failure(identity, problem_of(told), str(told))
            raise
        except Exception as error:
            # Not an expected kind of failure: it is undone all the same, and raised again.
            log.error("step failed unexpectedly", step=self.name, exc_info=error)
            problem = Problem(title="A step failed unexpectedly", status=500, detail=repr(error))
            self._note_failure(identity, problem, repr(error))
            raise
        self._journal.step_ends(identity, self.name, StepState.DONE, detail=detail)

    def update_progress(self, progress: float) -> None:
        """TaskFlow would commit each call; our journal tells progress to people."""

    def revert(self, operation_id: str, **_: Any) -> None:
        if self._journal.step(UUID(operation_id), self.name).state != StepState.PENDING:
            undo_step(self._step, UUID(operation_id), self._journal)

    def _do_patiently(self, operation_id: UUID) -> dict[str, Any]:
        patience = self._trial.patience
        wish = self._trial.cancellations.wish(operation_id)
        deadline_s = patience.clock.monotonic() + patience.limit_s
        while True:
            try:
                return self._step.do(operation_id)
            except ProblemError as error:
                late = patience.clock.monotonic() >= deadline_s
                if late or not patience.is_transient(error):
                    raise
                log.warning("step is done again", step=self.name, why=error.detail)
                self._journal.step_waits(operation_id, self.name, {"waits": error.detail})
                if patience.clock.wait(wish, patience.every_s) or patience.closing.is_set():
                    raise

    def _note_failure(self, operation_id: UUID, problem: Problem, error: str) -> None:
        self._journal.step_ends(operation_id, self.name, StepState.FAILED, error=error)
        self._note_error(operation_id, problem)

    def _note_error(self, operation_id: UUID, problem: Problem) -> None:
        if self._trial.hold:
            # Its state follows once what nobody may keep while people think was given back.
            self._journal.note_error(operation_id, problem)
            return
        self._journal.move(
            operation_id,
            OperationState.ROLLING_BACK,
            allowed=(OperationState.PROCESSING,),
            error=problem,
        )


@dataclass(frozen=True)
class _Trial:
    """How one try of an operation is run. `hold`: a failure is not undone by the engine."""

    patience: Patience
    cancellations: Cancellations
    hold: bool


def undo_step(step: Step, operation_id: UUID, journal: OperationJournal) -> bool:
    """Undo one step; False (and on record) if it has to be tried again later.

    A failure here, of whatever kind, never keeps the other steps from being undone.
    """
    journal.step_ends(operation_id, step.name, StepState.UNDOING)
    try:
        step.undo(operation_id)
    except ProblemError as error:
        log.warning("undo must be tried again", step=step.name, why=error.detail)
        journal.step_ends(operation_id, step.name, StepState.UNDO_PENDING, error=str(error))
        return False
    except Exception as error:
        log.error("undo failed unexpectedly", step=step.name, exc_info=error)
        journal.step_ends(operation_id, step.name, StepState.UNDO_PENDING, error=repr(error))
        return False
    journal.step_ends(operation_id, step.name, StepState.UNDONE)
    return True


class _Backend(SQLAlchemyBackend):  # type: ignore[misc]
    """TaskFlow asks for a connection at each of its many writes, and describes all tables anew for
    each: SQLAlchemy would compile every statement again, and keep those tables with it. What it
    calls a connection has no state but them, so one serves all threads."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connection = super().get_connection()

    def get_connection(self) -> Connection:
        return self._connection


class FlowEngine:
    """Runs the steps of an operation, from the beginning or from where a crash left them."""

    def __init__(
        self,
        database_url: str,
        journal: OperationJournal,
        patience: Patience,
        cancellations: Cancellations,
        *,
        idle_limit_s: int | None = None,
    ) -> None:
        """`idle_limit_s`: see `database.open_engine`."""
        self._journal = journal
        self._patience = patience
        self._cancellations = cancellations
        # Our engine brings WAL and a busy timeout, without which each of TaskFlow's many commits
        # on SQLite would wait for the disk.
        self._engine = open_engine(database_url, idle_limit_s=idle_limit_s)
        self._backend = _Backend({"connection": database_url}, engine=self._engine)
        with contextlib.closing(self._backend.get_connection()) as connection:
            connection.upgrade()

    def run(self, operation_id: UUID, steps: Sequence[Step], *, claim: int = 0) -> bool:
        """Run the present try to its end under this claim; True if all steps are done.

        False if one failed, or TaskFlow's own record did. Then steps may be left to be undone:
        `OperationJournal.steps_to_undo` names them. Of an operation that is to be held none is
        undone here.
        """
        operation = self._journal.get(operation_id)
        trial = _Trial(
            self._patience, self._cancellations, hold=operation.on_failure == OnFailure.HOLD
        )
        flow = linear_flow.Flow(f"{_FLOW_NAME}{operation_id}")
        flow.add(*(_StepTask(step, self._journal, trial) for step in steps))
        with contextlib.closing(self._backend.get_connection()) as connection:
            record_id = _record_id(operation_id, operation.tries, claim)
            book, detail = self._detail(connection, record_id, flow.name)
        if detail.state in (states.SUCCESS, states.REVERTED, states.FAILURE):
            # It ended just before a crash. TaskFlow would run such a flow from its beginning.
            return bool(detail.state == states.SUCCESS)
        engine = engines.load(
            flow,
            store={"operation_id": str(operation_id)},
            flow_detail=detail,
            book=book,
            backend=self._backend,
            engine="serial",
            never_resolve=trial.hold,
        )
        try:
            engine.run()
        except taskflow_errors.TaskFlowException:
            log.info("flow ended early", operation=str(operation_id))
        except Exception:  # noqa: BLE001 - what a step raised; the journal has it
            log.info("flow ended early", operation=str(operation_id))
        return bool(engine.storage.get_flow_state() == states.SUCCESS)

    def forget(self, operation_id: UUID, tries: int, *, claims: int = 0) -> None:
        """Remove TaskFlow's own record of the tries of an operation that ended, under all claims up
        to this number."""
        with contextlib.closing(self._backend.get_connection()) as connection:
            for number, claim in product(range(1, tries + 1), range(claims + 1)):
                with contextlib.suppress(taskflow_errors.NotFound):
                    connection.destroy_logbook(str(_record_id(operation_id, number, claim)))

    def settle(self) -> None:
        """Call at start: a crash may have come after an operation's end and before its record here
        was removed. Those of operations that are not over stay."""
        with contextlib.closing(self._backend.get_connection()) as connection:
            books = list(connection.get_logbooks(lazy=True))
            # Asked after: whatever has a book is known to the journal by now.
            going_on = {
                f"{_FLOW_NAME}{operation.operation_id}"
                for operation in self._journal.in_states(set(OperationState) - set(ENDED))
            }
            for book in books:
                if book.name not in going_on:
                    with contextlib.suppress(taskflow_errors.NotFound):  # another replica did
                        connection.destroy_logbook(book.uuid)

    def close(self) -> None:
        self._backend.close()
        self._engine.dispose()

    @staticmethod
    def _detail(
        connection: Connection, record_id: UUID, name: str
    ) -> tuple[models.LogBook, models.FlowDetail]:
        """The stored record of the operation's flow, or a new one."""
        try:
            book = connection.get_logbook(str(record_id))
        except taskflow_errors.NotFound:
            book = models.LogBook(name, uuid=str(record_id))
            book.add(models.FlowDetail(name, uuid=str(record_id)))
            connection.save_logbook(book)
        detail = book.find(str(record_id))
        for atom in detail:
            if atom.name == Storage.injector_name and atom.results is None:
                # A crash fell between the making of this atom, which keeps the flow's inputs, and
                # its filling. TaskFlow would stumble over it at every start.
                atom.results, atom.state = {}, states.SUCCESS
        return book, detail


def _record_id(operation_id: UUID, number: int, claim: int) -> UUID:
    """Of TaskFlow's record of one try: a failed flow cannot be run again from where it stands.

    Each claim has a record of its own too, since who lost his claim may still write to his. What
    was done before it the journal knows.
    """
    if claim:
        return uuid5(operation_id, f"try {number} claim {claim}")
    return operation_id if number == 1 else uuid5(operation_id, f"try {number}")
