"""Keeps an occurrence as its members' operations are, in the transaction that changes those."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.sol003.members.aggregate import Course, Decided, Part, course_of, state_of
from orchestrator.sol003.notifications import outbox
from orchestrator.sol003.tables import InstantiationRow, OccurrenceOperationRow, OccurrenceRow
from orchestrator.store.tables import DeploymentRow, OperationRow
from orchestrator.vnf_lcm.states import ENDED, DeploymentState, OperationKind, OperationState


@dataclass(frozen=True)
class MemberPart:
    """A member's operation with what people are told of it."""

    part: Part
    operation_id: UUID
    kind: OperationKind
    deployment_id: UUID
    vdu_id: str
    number: int
    data_centre: str
    error: dict[str, Any] | None


def occurrence_follows(session: Session, operation: OperationRow, now: datetime) -> bool:
    """False if the operation is an occurrence by itself."""
    tie = session.get(OccurrenceOperationRow, operation.operation_id)
    if tie is None:
        return False
    settle(session, tie.occurrence_id, now)
    return True


def settle(session: Session, occurrence_id: UUID, now: datetime) -> None:
    """Bring an occurrence to the state of its members and tell who subscribed. Repeatable."""
    row = locked(session, occurrence_id)
    if row.state in ENDED:
        return
    members = parts_of(session, [occurrence_id]).get(occurrence_id, [])
    parts = [member.part for member in members]
    if not parts:
        return  # they are being recorded
    row.course = course_of(decided(row), parts).value
    state = state_of(decided(row), parts)
    if state == row.state:
        return
    row.state, row.entered_at = state.value, now
    if state in ENDED:
        row.ended_at = now
    error = None if state is OperationState.COMPLETED else error_of(members)
    outbox.occurrence_changed(session, row, error, now)


def locked(session: Session, occurrence_id: UUID) -> OccurrenceRow:
    """Of two members that change at once, who comes second sees what the first one did."""
    return session.scalars(
        select(OccurrenceRow)
        .where(OccurrenceRow.occurrence_id == occurrence_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def decided(row: OccurrenceRow) -> Decided:
    return Decided(row.adds, Course(row.course), row.tries, row.cancel_requested, row.then_removes)


def parts_of(session: Session, occurrence_ids: Collection[UUID]) -> dict[UUID, list[MemberPart]]:
    """By occurrence its members' operations, without those that undo them, in the order of their
    recording."""
    rows = session.execute(
        select(
            OccurrenceOperationRow.occurrence_id,
            OperationRow.state,
            OperationRow.kind,
            OperationRow.tries,
            OperationRow.cancel_requested,
            OperationRow.error,
            OperationRow.operation_id,
            DeploymentRow.deployment_id,
            DeploymentRow.data_centre,
            DeploymentRow.state.label("deployment_state"),
            InstantiationRow.vdu_id,
            InstantiationRow.number,
        )
        .select_from(OccurrenceOperationRow)
        .join(OperationRow, OperationRow.operation_id == OccurrenceOperationRow.operation_id)
        .join(DeploymentRow, DeploymentRow.deployment_id == OperationRow.deployment_id)
        .join(InstantiationRow, InstantiationRow.deployment_id == OperationRow.deployment_id)
        .where(
            OccurrenceOperationRow.occurrence_id.in_(occurrence_ids),
            OccurrenceOperationRow.is_undoing.is_(False),
        )
        .order_by(OperationRow.sequence)
    )
    found: dict[UUID, list[MemberPart]] = {}
    for row in rows:
        is_gone = row.deployment_state == DeploymentState.REMOVED
        part = Part(OperationState(row.state), row.tries, row.cancel_requested, is_gone)
        found.setdefault(row.occurrence_id, []).append(
            MemberPart(
                part,
                row.operation_id,
                OperationKind(row.kind),
                row.deployment_id,
                row.vdu_id,
                row.number,
                row.data_centre,
                row.error,
            )
        )
    return found


def error_of(members: list[MemberPart]) -> dict[str, Any] | None:
    """Why it failed: the member's problem that was not made by cancelling the others."""
    failed = [
        member
        for member in members
        if member.error is not None and member.part.state is not OperationState.COMPLETED
    ]
    failed.sort(key=lambda member: member.part.cancel_requested)
    if not failed:
        return None
    first = failed[0]
    error = dict(first.error or {})
    where = f"{first.vdu_id} {first.number} in {first.data_centre}"
    return {**error, "detail": f"{where}: {error.get('detail') or error.get('title')}"}
