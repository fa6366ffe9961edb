"""What of a failed operation is kept while people think, and what is given back at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.network.circuits import TransferCircuits
from orchestrator.store.tables import OperationRow, StepRow
from orchestrator.vnf_lcm.states import StepState
from orchestrator.vnf_lcm.steps import TRANSFER


class Holding:
    """An image that arrived is kept, with what was made of it.

    A transfer that did not arrive is cancelled: its key never returns, so what came is of no use
    to a retry. No circuit is held while nothing passes it. `withdraw` gives back what an operation
    reserved when it was admitted.
    """

    def __init__(
        self, circuits: TransferCircuits, withdraw: Callable[[OperationRow], None]
    ) -> None:
        self._circuits = circuits
        self._withdraw = withdraw

    def kept(self, operation: OperationRow, steps: Sequence[StepRow]) -> set[str]:
        """Names of the steps that stay done; the circuit is given back here."""
        if any(step.name == "key" and step.state == StepState.PENDING for step in steps):
            # Cancelled before its first step: there is none that gives the key back when undone,
            # and a retry takes another.
            self._withdraw(operation)
        self._circuits.release(operation.operation_id)
        done = {step.name for step in steps if step.state == StepState.DONE}
        return done if set(TRANSFER) <= done else done - set(TRANSFER)


def left_behind(steps: Sequence[StepRow]) -> list[str]:
    """What steps that were not undone have made, for people. Keys and circuits are not left."""
    made = {
        StepState.DONE,
        StepState.FAILED,
        StepState.RUNNING,
        StepState.UNDOING,
        StepState.UNDO_PENDING,
    }
    there = {step.name for step in steps if step.state in made}
    return [what for name, what in _MADE_BY.items() if name in there]


_MADE_BY = {
    "announce": "the transfer at the data centre, with its key there",
    "place": "the image in the VIM",
    "boot": "the instance in the VIM",
}
