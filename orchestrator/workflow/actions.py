"""What people ask of operations: retry, rollback, fail and cancel (ETSI GS NFV-SOL 003)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

from orchestrator.errors import OperationStateError
from orchestrator.store.tables import OperationRow
from orchestrator.vnf_lcm.states import (
    OperationAction,
    OperationState,
    StepState,
    allowed_actions,
)
from orchestrator.workflow.journal import OperationJournal
from orchestrator.workflow.runner import OperationRunner
from timekeeping import Clock

_HELD = (OperationState.FAILED_TEMP,)


class OperationActions:
    """Thread-safe. Each method raises OperationStateError where the state does not allow it."""

    def __init__(
        self,
        journal: OperationJournal,
        runner: OperationRunner,
        withdraw: Callable[[OperationRow], None],
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._runner = runner
        self._withdraw = withdraw
        self._clock = clock

    def settle(self) -> None:
        """Call before the runner starts: a crash may have come after an operation was given up and
        before its keys were given back."""
        for operation in self._journal.in_states((OperationState.FAILED,)):
            self._withdraw(operation)

    def retry(self, operation_id: UUID, *, after_try: int | None = None) -> None:
        """Try a held operation again, waiting for key and circuit as long as the first time.

        `after_try`: only if that was its newest one, so that two who ask get one more try.
        """
        operation = self._journal.get(operation_id)
        wait_s = (operation.parameters or {}).get("wait_s")
        wait_until = None if wait_s is None else self._clock.now() + timedelta(seconds=wait_s)
        begun = self._journal.begin_again(
            operation_id,
            self._next_transfer(operation),
            wait_until=wait_until,
            after_try=after_try,
        )
        if not begun:
            raise self._refusal(operation_id, OperationAction.RETRY)
        self._runner.wake()

    def rollback(self, operation_id: UUID) -> None:
        """Undo what a held operation kept."""
        self._journal.get(operation_id)  # whoever may not know of it is told so
        if not self._journal.move(operation_id, OperationState.ROLLING_BACK, allowed=_HELD):
            raise self._refusal(operation_id, OperationAction.ROLLBACK)
        self._runner.wake()

    def fail(self, operation_id: UUID) -> None:
        """Give a held operation up as it is."""
        self._journal.get(operation_id)
        if not self._journal.move(operation_id, OperationState.FAILED, allowed=_HELD):
            raise self._refusal(operation_id, OperationAction.FAIL)
        self._withdraw(self._journal.get(operation_id))
        self._runner.ended(operation_id)

    def cancel(self, operation_id: UUID) -> None:
        """End an operation that waits or runs; then `on_failure` says what becomes of it."""
        self._journal.get(operation_id)
        if not self._journal.request_cancel(operation_id):
            raise self._refusal(operation_id, OperationAction.CANCEL)
        self._runner.cancel(operation_id)

    def _next_transfer(self, operation: OperationRow) -> UUID:
        """A new one, under a new key, unless the image arrived."""
        steps = {step.name: step.state for step in self._journal.steps(operation.operation_id)}
        arrived = steps.get("notify", StepState.DONE) == StepState.DONE
        return operation.transfer_id if arrived else uuid4()

    def _refusal(self, operation_id: UUID, action: OperationAction) -> OperationStateError:
        state = self._journal.get(operation_id).state
        return state_refusal(operation_id, state, action, look_at="its deployment")


def state_refusal(
    operation_id: UUID, state: str, action: OperationAction, *, look_at: str
) -> OperationStateError:
    """Why an operation, or an occurrence over several, does not allow what was asked of it now."""
    allowed = [str(each) for each in allowed_actions(state)]
    return OperationStateError(
        f"Operation {operation_id} is {state}: {action} is not possible.",
        next_step=f"Possible now: {', '.join(allowed)}."
        if allowed
        else f"Nothing more is possible with it; look at {look_at}.",
        state=state,
        allowed_actions=allowed,
    )
