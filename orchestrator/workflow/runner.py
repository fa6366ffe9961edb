"""Runs operations: one dispatcher that admits in order, a pool that works, a start that resumes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.events.bus import CircuitReleased, Event, EventBus, KeysChanged
from orchestrator.store.tables import OperationRow
from orchestrator.vnf_lcm.states import (
    ADMISSIBLE,
    UNDER_WAY,
    OperationKind,
    OperationState,
)
from orchestrator.workflow.engine import FlowEngine, undo_step
from orchestrator.workflow.journal import OperationJournal
from orchestrator.workflow.step import Step
from problem_details import ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)

_LOOK_AGAIN_S = 1.0
_TAKE_UP_AGAIN_S = 2.0


class OperationRunner:
    """One per orchestrator process, and one process per database.

    It takes up what a crash left, and what could not go on or not be undone for a moment: such an
    operation holds no worker while it waits. `withdraw` gives back what `admit` reserved.
    """

    def __init__(
        self,
        journal: OperationJournal,
        engine: FlowEngine,
        steps: Mapping[OperationKind, Sequence[Step]],
        admit: Callable[[OperationRow], bool],
        on_end: Callable[[OperationRow], None],
        bus: EventBus,
        clock: Clock,
        *,
        withdraw: Callable[[OperationRow], None],
        workers: int = 16,
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._steps = steps
        self._admit = admit
        self._on_end = on_end
        self._withdraw = withdraw
        self._clock = clock
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._running: set[UUID] = set()
        self._not_before_s: dict[UUID, float] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="operation")
        self._dispatcher = threading.Thread(target=self._dispatch, name="dispatcher", daemon=True)
        self._unsubscribe = bus.subscribe(self._on_event)

    def start(self) -> None:
        for operation in self._journal.in_states(UNDER_WAY):
            log.info("operation is taken up again", operation=str(operation.operation_id))
            self._submit(operation)
        self._dispatcher.start()

    def wake(self) -> None:
        """Look at waiting operations now."""
        self._wake.set()

    @property
    def is_busy(self) -> bool:
        """Operations are under way."""
        with self._lock:
            return bool(self._running)

    def close(self) -> None:
        """Stop admitting. What runs is not waited for."""
        self._closing.set()
        self._wake.set()
        self._unsubscribe()
        if self._dispatcher.is_alive():
            self._dispatcher.join(5)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- admitting --------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if isinstance(event, KeysChanged | CircuitReleased):
            self._wake.set()

    def _dispatch(self) -> None:
        while not self._closing.is_set():
            self._wake.clear()
            try:
                for operation in self._journal.in_states(UNDER_WAY):
                    self._take_up(operation)
                for operation in self._journal.in_states(ADMISSIBLE):
                    if self._closing.is_set():
                        return
                    self._look_at(operation)
            except SQLAlchemyError as error:
                log.error("waiting operations cannot be read", why=str(error))
            self._clock.wait(self._wake, _LOOK_AGAIN_S)

    def _look_at(self, operation: OperationRow) -> None:
        with structlog.contextvars.bound_contextvars(operation=str(operation.operation_id)):
            try:
                admitted = self._admit(operation)
            except ProblemError as error:
                log.warning("cannot be admitted now", why=error.detail)
                return
            except Exception as error:
                log.error("cannot be looked at", exc_info=error)
                return
            if not admitted:
                if self._journal.get(operation.operation_id).state == OperationState.ROLLED_BACK:
                    self._on_end(self._journal.get(operation.operation_id))
                return
            moved = self._journal.move(
                operation.operation_id, OperationState.PROCESSING, allowed=ADMISSIBLE
            )
            if moved:
                self._submit(operation)

    # --- working ----------------------------------------------------------------------------------

    def _take_up(self, operation: OperationRow) -> None:
        """Go on with an operation under way that nobody works on (any more)."""
        with self._lock:
            not_before_s = self._not_before_s.get(operation.operation_id, 0.0)
        if self._clock.monotonic() >= not_before_s and not self._closing.is_set():
            self._submit(operation)

    def _submit(self, operation: OperationRow) -> None:
        with self._lock:
            if operation.operation_id in self._running:
                return
            self._running.add(operation.operation_id)
            self._not_before_s.pop(operation.operation_id, None)
        self._pool.submit(self._work, operation.operation_id, OperationKind(operation.kind))

    def _work(self, operation_id: UUID, kind: OperationKind) -> None:
        with structlog.contextvars.bound_contextvars(operation=str(operation_id)):
            ended = False
            try:
                ended = self._run(operation_id, self._steps[kind])
            except Exception:
                # The pool would swallow it; the operation stays under way and is taken up again.
                log.exception("operation could not go on")
                raise
            finally:
                with self._lock:
                    self._running.discard(operation_id)
                    if not ended:
                        again_s = self._clock.monotonic() + _TAKE_UP_AGAIN_S
                        self._not_before_s[operation_id] = again_s

    def _run(self, operation_id: UUID, steps: Sequence[Step]) -> bool:
        """Go on with an operation; False if it has to be taken up again later."""
        state = self._journal.get(operation_id).state
        if state not in UNDER_WAY:
            return True  # it ended between being seen and being taken up
        target = OperationState.COMPLETED
        # What is being rolled back never goes forward again, whatever TaskFlow recorded of it.
        if state != OperationState.PROCESSING or not self._engine.run(operation_id, steps):
            target = OperationState.ROLLED_BACK
            self._journal.move(operation_id, OperationState.ROLLING_BACK, allowed=UNDER_WAY)
            if not self._undo_the_rest(operation_id, {step.name: step for step in steps}):
                return False
            self._withdraw(self._journal.get(operation_id))
        self._journal.move(operation_id, target, allowed=UNDER_WAY)
        self._on_end(self._journal.get(operation_id))
        self._engine.forget(operation_id)
        log.info("operation ended", state=target.value)
        self._wake.set()
        return True

    def _undo_the_rest(self, operation_id: UUID, steps: Mapping[str, Step]) -> bool:
        """Undo what the engine left, last step first; False if some of it is still there."""
        undone = [
            undo_step(steps[name], operation_id, self._journal)
            for name in self._journal.steps_to_undo(operation_id)
        ]
        return all(undone)
