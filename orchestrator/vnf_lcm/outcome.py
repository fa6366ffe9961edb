"""What an operation's end makes of its deployment, in the transaction that records the end."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orchestrator.store.tables import DeploymentRow, OperationRow
from orchestrator.vnf_lcm.states import (
    BUSY_WITH,
    CHANGES,
    ENDED,
    DeploymentAction,
    DeploymentState,
    OperationKind,
    OperationState,
)


def deployment_follows(session: Session, operation: OperationRow, now: datetime) -> None:
    """Set the deployment's state by an operation that ended; others change nothing. Repeatable."""
    if operation.state not in ENDED:
        return
    session.execute(
        update(DeploymentRow)
        .where(
            DeploymentRow.deployment_id == operation.deployment_id,
            DeploymentRow.state == BUSY_WITH[OperationKind(operation.kind)].value,
        )
        .values(state=_state_after(session, operation), changed_at=now)
    )


def _state_after(session: Session, operation: OperationRow) -> str:
    kind = OperationKind(operation.kind)
    if operation.state == OperationState.COMPLETED:
        return _target(operation, kind).value
    if kind is OperationKind.INSTANTIATE:
        return DeploymentState.FAILED.value
    if operation.state_before is not None:
        return operation.state_before
    # Recorded before operations knew what was before them; then there was only this to tell.
    came_up = session.scalars(
        select(OperationRow.sequence)
        .where(
            OperationRow.deployment_id == operation.deployment_id,
            OperationRow.kind == OperationKind.INSTANTIATE.value,
            OperationRow.state == OperationState.COMPLETED.value,
        )
        .limit(1)
    ).first()
    return (DeploymentState.FAILED if came_up is None else DeploymentState.RUNNING).value


def _target(operation: OperationRow, kind: OperationKind) -> DeploymentState:
    if kind is OperationKind.INSTANTIATE:
        return DeploymentState.RUNNING
    if kind is OperationKind.OPERATE:
        stopped = (operation.parameters or {}).get("change_to") == "STOPPED"
        return CHANGES[DeploymentAction.STOP if stopped else DeploymentAction.START].target
    return next(change.target for change in CHANGES.values() if change.kind is kind)
