"""States of deployments, operations and steps, each with its meaning, and the ways between them.

`docs/lifecycle.md` is drawn from these tables.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class DeploymentState(StrEnum):
    DEPLOYING = "DEPLOYING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    OPERATING = "OPERATING"
    HEALING = "HEALING"
    REMOVING = "REMOVING"
    REMOVED = "REMOVED"
    FAILED = "FAILED"


DEPLOYMENT_MEANING: dict[DeploymentState, str] = {
    DeploymentState.DEPLOYING: "an operation brings it up",
    DeploymentState.RUNNING: "the instance ran and was healthy when its last operation ended",
    DeploymentState.STOPPED: "the instance was stopped on request; it is kept",
    DeploymentState.OPERATING: "an operation stops or starts the instance",
    DeploymentState.HEALING: "an operation makes the instance anew",
    DeploymentState.REMOVING: "an operation takes it down",
    DeploymentState.REMOVED: "nothing of it is left",
    DeploymentState.FAILED: "it did not come up; what its operation says is left goes by a removal",
}


class OperationKind(StrEnum):
    INSTANTIATE = "INSTANTIATE"
    OPERATE = "OPERATE"
    HEAL = "HEAL"
    TERMINATE = "TERMINATE"


BUSY_WITH: dict[OperationKind, DeploymentState] = {
    OperationKind.INSTANTIATE: DeploymentState.DEPLOYING,
    OperationKind.OPERATE: DeploymentState.OPERATING,
    OperationKind.HEAL: DeploymentState.HEALING,
    OperationKind.TERMINATE: DeploymentState.REMOVING,
}
"""The deployment's state while an operation of this kind is not over."""


class DeploymentAction(StrEnum):
    """What people can ask of a deployment."""

    START = "start"
    STOP = "stop"
    HEAL = "heal"
    REMOVE = "remove"


DEPLOYMENT_ACTIONS: dict[DeploymentState, tuple[DeploymentAction, ...]] = {
    DeploymentState.RUNNING: (
        DeploymentAction.STOP,
        DeploymentAction.START,
        DeploymentAction.HEAL,
        DeploymentAction.REMOVE,
    ),
    DeploymentState.STOPPED: (
        DeploymentAction.START,
        DeploymentAction.STOP,
        DeploymentAction.HEAL,
        DeploymentAction.REMOVE,
    ),
    DeploymentState.FAILED: (DeploymentAction.REMOVE,),
}
"""In the other states an operation is under way, or nothing is left to act on."""


@dataclass(frozen=True)
class Change:
    """What an action is done by, and what its deployment is once that completed."""

    kind: OperationKind
    target: DeploymentState


CHANGES: dict[DeploymentAction, Change] = {
    DeploymentAction.START: Change(OperationKind.OPERATE, DeploymentState.RUNNING),
    DeploymentAction.STOP: Change(OperationKind.OPERATE, DeploymentState.STOPPED),
    DeploymentAction.HEAL: Change(OperationKind.HEAL, DeploymentState.RUNNING),
    DeploymentAction.REMOVE: Change(OperationKind.TERMINATE, DeploymentState.REMOVED),
}
"""One that does not complete leaves the deployment in the state that it had before."""


class OnFailure(StrEnum):
    """What becomes of an operation whose step failed."""

    ROLLBACK = "rollback"
    HOLD = "hold"


class OperationState(StrEnum):
    STARTING = "STARTING"
    WAITING_FOR_KEY = "WAITING_FOR_KEY"
    WAITING_CIRCUIT = "WAITING_CIRCUIT"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED_TEMP = "FAILED_TEMP"
    FAILED = "FAILED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"


OPERATION_MEANING: dict[OperationState, str] = {
    OperationState.STARTING: "accepted, not looked at yet",
    OperationState.WAITING_FOR_KEY: "parked until both ends hold a key; no circuit is held",
    OperationState.WAITING_CIRCUIT: "parked, in order, until ports are free; its key is reserved",
    OperationState.PROCESSING: "its steps run",
    OperationState.COMPLETED: "every step is done",
    OperationState.FAILED_TEMP: "held after a failure until somebody decides; what a retry can use "
    "is kept, no circuit and no unused key",
    OperationState.FAILED: "given up as it was; what is left of it goes by a removal",
    OperationState.ROLLING_BACK: "what was made is being undone",
    OperationState.ROLLED_BACK: "nothing of it is left",
}

ADMISSIBLE = (
    OperationState.STARTING,
    OperationState.WAITING_FOR_KEY,
    OperationState.WAITING_CIRCUIT,
)
UNDER_WAY = (OperationState.PROCESSING, OperationState.ROLLING_BACK)
ENDED = (OperationState.COMPLETED, OperationState.ROLLED_BACK, OperationState.FAILED)
AT_REST = (*ENDED, OperationState.FAILED_TEMP)
"""Nothing happens to it by itself."""


class OperationAction(StrEnum):
    """What people can ask of an operation (ETSI GS NFV-SOL 003)."""

    RETRY = "retry"
    ROLLBACK = "rollback"
    FAIL = "fail"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Transition:
    """One way between two states of an operation; `action` if a person takes it."""

    source: OperationState
    target: OperationState
    cause: str
    action: OperationAction | None = None


def _transitions() -> tuple[Transition, ...]:
    state = OperationState
    waiting = {
        state.STARTING: (state.WAITING_FOR_KEY, state.WAITING_CIRCUIT),
        state.WAITING_FOR_KEY: (state.WAITING_CIRCUIT,),
        state.WAITING_CIRCUIT: (state.WAITING_FOR_KEY,),
    }
    causes = {state.WAITING_FOR_KEY: "no key yet", state.WAITING_CIRCUIT: "no free ports"}
    ways = [
        Transition(source, target, causes[target])
        for source, targets in waiting.items()
        for target in targets
    ]
    for source in ADMISSIBLE:
        ways += [
            Transition(source, state.PROCESSING, "admitted"),
            Transition(source, state.ROLLED_BACK, "refused or too late"),
            Transition(source, state.FAILED_TEMP, "refused or too late (hold)"),
            Transition(source, state.ROLLED_BACK, "cancelled", OperationAction.CANCEL),
            Transition(source, state.FAILED_TEMP, "retry cancelled", OperationAction.CANCEL),
        ]
    return (
        *ways,
        Transition(state.PROCESSING, state.COMPLETED, "every step done"),
        Transition(state.PROCESSING, state.ROLLING_BACK, "a step failed"),
        Transition(state.PROCESSING, state.FAILED_TEMP, "a step failed (hold)"),
        Transition(state.PROCESSING, state.ROLLING_BACK, "cancelled", OperationAction.CANCEL),
        Transition(
            state.PROCESSING,
            state.FAILED_TEMP,
            "cancelled (hold)",
            OperationAction.CANCEL,
        ),
        Transition(state.FAILED_TEMP, state.STARTING, "retry", OperationAction.RETRY),
        Transition(state.FAILED_TEMP, state.ROLLING_BACK, "rollback", OperationAction.ROLLBACK),
        Transition(state.FAILED_TEMP, state.FAILED, "fail", OperationAction.FAIL),
        Transition(state.ROLLING_BACK, state.ROLLED_BACK, "every step undone"),
    )


TRANSITIONS = _transitions()


def sources_of(target: OperationState, among: Collection[OperationState]) -> list[OperationState]:
    """The states of `among` from which there is a way to `target`."""
    found = {way.source for way in TRANSITIONS if way.target is target}
    return [state for state in among if state in found]


def allowed_actions(state: str) -> list[OperationAction]:
    """What people can ask of an operation in this state."""
    found = {way.action for way in TRANSITIONS if way.source == state}
    return [action for action in OperationAction if action in found]


class StepState(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"
    UNDO_PENDING = "UNDO_PENDING"


STEP_MEANING: dict[StepState, str] = {
    StepState.PENDING: "not begun",
    StepState.RUNNING: "being done; after a crash it is done again",
    StepState.DONE: "its effect is there",
    StepState.FAILED: "it could not be done",
    StepState.UNDOING: "being undone",
    StepState.UNDONE: "its effect is gone",
    StepState.UNDO_PENDING: "could not be undone yet; it is tried again until it can",
}
