"""Runs operations: one dispatcher that admits in order, a pool that works, a start that resumes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.errors import ClaimLostError
from orchestrator.events.bus import CircuitReleased, Event, EventBus, KeysChanged
from orchestrator.statuses import problem_of
from orchestrator.store.tables import OperationRow, StepRow
from orchestrator.vnf_lcm.states import (
    ADMISSIBLE,
    ENDED,
    UNDER_WAY,
    OnFailure,
    OperationState,
    StepState,
)
from orchestrator.workflow.cancellation import Cancellations, cancelled
from orchestrator.workflow.claims.alone import Alone
from orchestrator.workflow.claims.port import Claims
from orchestrator.workflow.engine import FlowEngine, undo_step
from orchestrator.workflow.journal import OperationJournal
from orchestrator.workflow.step import Step
from problem_details import ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)

_LOOK_AGAIN_S = 1.0
_LOOK_AGAIN_BESIDE_OTHERS_S = 0.25
"""Where other replicas offer work, which they tell nobody of."""
_TAKE_UP_AGAIN_S = 2.0


class OperationRunner:
    """One per orchestrator process. Where several share a database, the one that `leads` admits,
    and `claims` say who of all works on what.

    It takes up what a crash left, and what could not go on or not be undone for a moment: such an
    operation holds no worker while it waits. `steps` are found by their names. `withdraw` gives
    back what `admit` reserved; `kept` says which steps of a failed operation stay done while it is
    held, once what nobody may keep so long was given back. `at_once` limits what this process
    takes at a time, so that others have some of it.
    """

    def __init__(
        self,
        journal: OperationJournal,
        engine: FlowEngine,
        steps: Mapping[str, Step],
        admit: Callable[[OperationRow], bool],
        on_end: Callable[[OperationRow], None],
        bus: EventBus,
        clock: Clock,
        *,
        withdraw: Callable[[OperationRow], None],
        kept: Callable[[OperationRow, Sequence[StepRow]], Collection[str]],
        cancellations: Cancellations,
        workers: int = 16,
        claims: Claims | None = None,
        leads: Callable[[], bool] = lambda: True,
        at_once: int | None = None,
    ) -> None:
        self._journal = journal
        self._claims = claims or Alone()
        self._leads = leads
        self._at_once = at_once
        self._engine = engine
        self._steps = steps
        self._admit = admit
        self._on_end = on_end
        self._withdraw = withdraw
        self._kept = kept
        self._cancellations = cancellations
        self._clock = clock
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._running: dict[UUID, int] = {}
        """What is worked on here, with the number of its claim."""
        self._not_before_s: dict[UUID, float] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="operation")
        self._dispatcher = threading.Thread(target=self._dispatch, name="dispatcher", daemon=True)
        self._unsubscribe = bus.subscribe(self._on_event)

    def start(self) -> None:
        self._claims.start(self._cancellations.abandon)
        self._dispatcher.start()

    def wake(self) -> None:
        """Look at waiting operations now."""
        self._wake.set()

    def cancel(self, operation_id: UUID) -> None:
        """Act on a wish that the journal has."""
        self._cancellations.ask(operation_id)
        self._wake.set()

    def ended(self, operation_id: UUID) -> None:
        """Tell and tidy up what is over, after its end is on record."""
        operation = self._journal.get(operation_id)
        self._on_end(operation)
        claims = self._claims.newest(operation_id)
        self._engine.forget(operation_id, operation.tries, claims=claims)
        self._cancellations.forget(operation_id)
        log.info("operation ended", state=operation.state)
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
        self._claims.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- admitting --------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if isinstance(event, KeysChanged | CircuitReleased) and self._leads():
            self._wake.set()

    def _dispatch(self) -> None:
        while not self._closing.is_set():
            self._wake.clear()
            try:
                self._share_out(self._journal.in_states(UNDER_WAY))
                for operation in self._journal.in_states(ADMISSIBLE) if self._leads() else []:
                    if self._closing.is_set() or not self._leads():
                        break
                    self._look_at(operation.operation_id)
            except SQLAlchemyError as error:
                log.error("waiting operations cannot be read", why=str(error))
            alone = self._at_once is None
            pause_s = _LOOK_AGAIN_S if alone else _LOOK_AGAIN_BESIDE_OTHERS_S
            self._clock.wait(self._wake, pause_s)

    def _share_out(self, under_way: Sequence[OperationRow]) -> None:
        if self._leads():
            self._claims.offer([operation.operation_id for operation in under_way])
        for operation in under_way:
            if operation.cancel_requested and operation.operation_id in self._running:
                self._cancellations.ask(operation.operation_id)  # asked for at another replica
        for operation_id in self._claims.offered():
            self._take_up(operation_id)

    def _look_at(self, operation_id: UUID) -> None:
        with structlog.contextvars.bound_contextvars(operation=str(operation_id)):
            try:
                # As it is now: the list is as old as all that was looked at before.
                operation = self._journal.get(operation_id)
                if operation.state not in ADMISSIBLE:
                    return
                if operation.cancel_requested:
                    self._cancel_waiting(operation)
                elif self._admit(operation) and self._journal.move(
                    operation_id, OperationState.PROCESSING, allowed=ADMISSIBLE
                ):
                    self._claims.offer([operation_id])
                    self._take_up(operation_id)
                else:
                    self._not_admitted(operation_id)
            except ProblemError as error:
                log.warning("cannot be admitted now", why=error.detail)
            except Exception as error:
                log.error("cannot be looked at", exc_info=error)

    def _not_admitted(self, operation_id: UUID) -> None:
        operation = self._journal.get(operation_id)
        if operation.state not in ENDED:
            return  # it waits, is held, or goes on elsewhere with what was reserved here
        # Refused just now; or this process was stopped while it reserved, and by the time it went
        # on another replica had brought the operation to its end.
        self._withdraw(operation)
        self.ended(operation_id)

    def _cancel_waiting(self, operation: OperationRow) -> None:
        """End what waits. Only the dispatcher does it, so nothing is reserved meanwhile."""
        self._withdraw(operation)
        # An earlier try may have left something, about which somebody has to decide.
        first = operation.tries == 1
        self._journal.move(
            operation.operation_id,
            OperationState.ROLLED_BACK if first else OperationState.FAILED_TEMP,
            allowed=ADMISSIBLE,
            error=problem_of(cancelled()),
        )
        if first:
            self.ended(operation.operation_id)

    # --- working ----------------------------------------------------------------------------------

    def _take_up(self, operation_id: UUID) -> None:
        """Work on an operation under way, if nobody does."""
        with self._lock:
            not_yet = self._clock.monotonic() < self._not_before_s.get(operation_id, 0.0)
            full = self._at_once is not None and len(self._running) >= self._at_once
            if not_yet or full or operation_id in self._running or self._closing.is_set():
                return
        claim = self._claims.take(operation_id)
        if claim is None:
            return
        with self._lock:
            self._running[operation_id] = claim
            self._not_before_s.pop(operation_id, None)
        log.info("operation is taken up", operation=str(operation_id), claim=claim)
        self._pool.submit(self._work, operation_id)

    def _work(self, operation_id: UUID) -> None:
        with structlog.contextvars.bound_contextvars(operation=str(operation_id)):
            ended = False
            try:
                ended = self._run(operation_id)
            except ClaimLostError as error:
                log.warning("operation is left to another replica", why=error.detail)
            except Exception:
                # The pool would swallow it; the operation stays under way and is taken up again.
                log.exception("operation could not go on")
                raise
            finally:
                if ended:
                    self._claims.done(operation_id)
                else:
                    self._claims.give_back(operation_id)
                with self._lock:
                    del self._running[operation_id]
                    if not ended:
                        again_s = self._clock.monotonic() + _TAKE_UP_AGAIN_S
                        self._not_before_s[operation_id] = again_s

    def _run(self, operation_id: UUID) -> bool:
        """Go on with an operation; False if it has to be taken up again later."""
        # Wishes of an earlier try are over; one that comes from here on finds its way: it is put
        # into the journal before anybody is told of it.
        self._cancellations.forget(operation_id)
        operation = self._journal.get(operation_id)
        if operation.state not in UNDER_WAY:
            return True  # it ended between being seen and being taken up
        if operation.state == OperationState.PROCESSING:
            if operation.cancel_requested:
                self._cancellations.ask(operation_id)
            if self._go_forward(operation):
                self._journal.move(operation_id, OperationState.COMPLETED, allowed=UNDER_WAY)
                self.ended(operation_id)
                return True
            if operation.on_failure == OnFailure.HOLD:
                return self._hold(operation)
            self._journal.move(operation_id, OperationState.ROLLING_BACK, allowed=UNDER_WAY)
        # What is being rolled back never goes forward again, whatever TaskFlow recorded of it.
        if not self._undo(self._journal.steps_to_undo(operation_id), operation_id):
            return False
        self._withdraw(self._journal.get(operation_id))
        self._journal.move(operation_id, OperationState.ROLLED_BACK, allowed=UNDER_WAY)
        self.ended(operation_id)
        return True

    def _go_forward(self, operation: OperationRow) -> bool:
        """Whether every step is done. What is to be held for a failed step is not run again."""
        recorded = self._journal.steps(operation.operation_id)
        if operation.on_failure == OnFailure.HOLD and any(
            step.state == StepState.FAILED for step in recorded
        ):
            return False
        return self._engine.run(
            operation.operation_id,
            [self._steps[step.name] for step in recorded],
            claim=self._running[operation.operation_id],
        )

    def _hold(self, operation: OperationRow) -> bool:
        """Keep what a retry can use. What cannot be undone now is undone by retry or rollback."""
        operation_id = operation.operation_id
        kept = self._kept(operation, self._journal.steps(operation_id))
        self._undo(
            [name for name in self._journal.steps_to_undo(operation_id) if name not in kept],
            operation_id,
        )
        self._journal.move(operation_id, OperationState.FAILED_TEMP, allowed=UNDER_WAY)
        log.info("operation is held")
        return True

    def _undo(self, names: Sequence[str], operation_id: UUID) -> bool:
        """Undo these steps, in this order; False if some of it is still there."""
        undone = [undo_step(self._steps[name], operation_id, self._journal) for name in names]
        return all(undone)
