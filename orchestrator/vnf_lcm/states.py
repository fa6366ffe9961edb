"""States of deployments, operations and steps, each with its meaning."""

from __future__ import annotations

from enum import StrEnum


class DeploymentState(StrEnum):
    DEPLOYING = "DEPLOYING"
    RUNNING = "RUNNING"
    REMOVING = "REMOVING"
    REMOVED = "REMOVED"
    FAILED = "FAILED"


DEPLOYMENT_MEANING: dict[DeploymentState, str] = {
    DeploymentState.DEPLOYING: "an operation brings it up",
    DeploymentState.RUNNING: "the instance ran and was healthy when its operation ended",
    DeploymentState.REMOVING: "an operation takes it down",
    DeploymentState.REMOVED: "nothing of it is left",
    DeploymentState.FAILED: "it did not come up; what was made for it was undone",
}


class OperationKind(StrEnum):
    INSTANTIATE = "INSTANTIATE"
    TERMINATE = "TERMINATE"


class OperationState(StrEnum):
    STARTING = "STARTING"
    WAITING_FOR_KEY = "WAITING_FOR_KEY"
    WAITING_CIRCUIT = "WAITING_CIRCUIT"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"


OPERATION_MEANING: dict[OperationState, str] = {
    OperationState.STARTING: "accepted, not looked at yet",
    OperationState.WAITING_FOR_KEY: "parked until both ends hold a key; no circuit is held",
    OperationState.WAITING_CIRCUIT: "parked, in order, until ports are free; its key is reserved",
    OperationState.PROCESSING: "its steps run",
    OperationState.COMPLETED: "every step is done",
    OperationState.ROLLING_BACK: "a step failed; what was made is being undone",
    OperationState.ROLLED_BACK: "nothing of it is left",
}

ADMISSIBLE = (
    OperationState.STARTING,
    OperationState.WAITING_FOR_KEY,
    OperationState.WAITING_CIRCUIT,
)
UNDER_WAY = (OperationState.PROCESSING, OperationState.ROLLING_BACK)
ENDED = (OperationState.COMPLETED, OperationState.ROLLED_BACK)


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
