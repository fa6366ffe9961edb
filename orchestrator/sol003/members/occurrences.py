"""Occurrences over several members, and those members, in the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, func, select, update
from sqlalchemy.orm import Session

from database import changed, in_batches, reading, writing
from orchestrator.projects.ownership import Kind, Ownership
from orchestrator.sol003.members.aggregate import Course, removals_are_due
from orchestrator.sol003.members.settling import MemberPart, decided, locked, parts_of, settle
from orchestrator.sol003.members.shape import Member, Shape
from orchestrator.sol003.notifications import outbox
from orchestrator.sol003.tables import InstantiationRow, OccurrenceOperationRow, OccurrenceRow
from orchestrator.store.tables import DeploymentRow, OperationRow
from orchestrator.vnf_lcm.states import (
    ENDED,
    DeploymentState,
    OperationAction,
    OperationKind,
    OperationState,
)
from timekeeping import Clock

_SHAPED = (OccurrenceRow.target.is_not(None), OccurrenceRow.state == OperationState.COMPLETED.value)


@dataclass(frozen=True)
class Newest:
    """The newest occurrences of one VNF instance."""

    any: OccurrenceRow
    instantiation: OccurrenceRow | None
    shaped: OccurrenceRow | None
    """The newest COMPLETED one that says what the VNF is."""

    @property
    def shape(self) -> Shape | None:
        """Since its newest instantiation."""
        row, first = self.shaped, self.instantiation
        if row is None or row.target is None or first is None or row.sequence < first.sequence:
            return None
        return Shape.from_stored(row.target)


class RemovalsNotDueError(Exception):
    """They were begun by somebody else, or something else was decided, at this moment."""


class Occurrences:
    """Thread-safe; every method without a session is one transaction."""

    def __init__(self, engine: Engine, clock: Clock, ownership: Ownership) -> None:
        """`engine` with the tables of `migrate_sol003`."""
        self._engine = engine
        self._clock = clock
        self._ownership = ownership

    # --- looking

    def find(self, occurrence_id: UUID) -> OccurrenceRow | None:
        """Of those that who asks may know of."""
        wanted = select(OccurrenceRow).where(
            OccurrenceRow.occurrence_id == occurrence_id, self._seen()
        )
        with reading(self._engine) as session:
            found = session.scalars(wanted).first()
            session.expunge_all()
            return found

    def all(self) -> list[OccurrenceRow]:
        """Those that who asks may know of, newest first."""
        wanted = select(OccurrenceRow).where(self._seen()).order_by(OccurrenceRow.sequence.desc())
        with reading(self._engine) as session:
            rows = session.scalars(wanted).all()
            session.expunge_all()
            return list(rows)

    def open(self) -> list[UUID]:
        """Those that did not end, oldest first."""
        ended = [state.value for state in ENDED]
        with reading(self._engine) as session:
            return list(
                session.scalars(
                    select(OccurrenceRow.occurrence_id)
                    .where(OccurrenceRow.state.not_in(ended))
                    .order_by(OccurrenceRow.sequence)
                )
            )

    def parts(self, occurrence_id: UUID) -> list[MemberPart]:
        return self.parts_of([occurrence_id]).get(occurrence_id, [])

    def parts_of(self, occurrence_ids: Iterable[UUID]) -> dict[UUID, list[MemberPart]]:
        """By occurrence, each in the order of its recording."""
        found: dict[UUID, list[MemberPart]] = {}
        with reading(self._engine) as session:
            for some in in_batches(list(occurrence_ids)):
                found |= parts_of(session, some)
        return found

    def undoings(self, occurrence_id: UUID, deployment_id: UUID) -> list[OperationRow]:
        """Removals of a member that its occurrence began, oldest first."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(OperationRow)
                .join(
                    OccurrenceOperationRow,
                    OccurrenceOperationRow.operation_id == OperationRow.operation_id,
                )
                .where(
                    OccurrenceOperationRow.occurrence_id == occurrence_id,
                    OccurrenceOperationRow.deployment_id == deployment_id,
                    OccurrenceOperationRow.is_undoing,
                )
                .order_by(OperationRow.sequence)
            ).all()
            session.expunge_all()
            return list(rows)

    def tied(self) -> set[UUID]:
        """Operations that are under an occurrence, and none by themselves."""
        with reading(self._engine) as session:
            return set(session.scalars(select(OccurrenceOperationRow.operation_id)))

    def is_tied(self, operation_id: UUID) -> bool:
        with reading(self._engine) as session:
            return session.get(OccurrenceOperationRow, operation_id) is not None

    def members(
        self, instance_ids: Collection[UUID] | None = None, *, gone_too: bool = False
    ) -> dict[UUID, list[Member]]:
        """By VNF instance its members, oldest first: those of which there is something."""
        statement = (
            select(InstantiationRow, DeploymentRow)
            .join(DeploymentRow, DeploymentRow.deployment_id == InstantiationRow.deployment_id)
            .where(InstantiationRow.vdu_id.is_not(None))
            .order_by(DeploymentRow.created_at, InstantiationRow.number)
        )
        if instance_ids is not None:
            statement = statement.where(InstantiationRow.vnf_instance_id.in_(instance_ids))
        if not gone_too:
            statement = statement.where(
                DeploymentRow.state != DeploymentState.REMOVED.value, ~_never_came_up()
            )
        found: dict[UUID, list[Member]] = {}
        with reading(self._engine) as session:
            for row, deployment in session.execute(statement):
                assert row.vdu_id is not None, "asked for above"
                member = Member(row.vdu_id, row.number or 1, deployment)
                found.setdefault(row.vnf_instance_id, []).append(member)
            session.expunge_all()
        return found

    def leaving(self, row: OccurrenceRow) -> list[Member]:
        """Members that there are now, of which the target of this scaling has no more."""
        assert row.target is not None, "it is a scaling"
        present = self.members([row.vnf_instance_id]).get(row.vnf_instance_id, [])
        return Shape.from_stored(row.target).superfluous(present)

    def newest(self, instance_ids: Collection[UUID] | None = None) -> dict[UUID, Newest]:
        with reading(self._engine) as session:
            rows = [
                self._newest(session, instance_ids),
                self._newest(
                    session,
                    instance_ids,
                    OccurrenceRow.kind == OperationKind.INSTANTIATE.value,
                ),
                self._newest(session, instance_ids, *_SHAPED),
            ]
            session.expunge_all()
        every, instantiations, shaped = rows
        return {
            instance_id: Newest(row, instantiations.get(instance_id), shaped.get(instance_id))
            for instance_id, row in every.items()
        }

    # --- changing

    def record(
        self,
        session: Session,
        row: OccurrenceRow,
        ties: Iterable[tuple[UUID, UUID]],
    ) -> None:
        """Within the transaction that records its operations, before those: `ties` are ids of
        operation and deployment."""
        session.add(row)
        session.flush()
        for operation_id, deployment_id in ties:
            self.tie(session, row.occurrence_id, operation_id, deployment_id, is_undoing=False)
        outbox.occurrence_changed(session, row, None, row.created_at)

    def begin_removals(
        self, session: Session, occurrence_id: UUID, ties: Iterable[tuple[UUID, UUID]]
    ) -> None:
        """Within the transaction that records these, before them: from here on what it added
        stays. `ties` as of `record`; without any it is COMPLETED.

        Raises RemovalsNotDueError.
        """
        row = locked(session, occurrence_id)
        members = parts_of(session, [occurrence_id]).get(occurrence_id, [])
        if not removals_are_due(decided(row), [member.part for member in members]):
            raise RemovalsNotDueError(occurrence_id)
        row.adds, row.then_removes = False, False
        row.tries = 1  # of each removal it is the first one
        ties = list(ties)
        for operation_id, deployment_id in ties:
            self.tie(session, occurrence_id, operation_id, deployment_id, is_undoing=False)
        if not ties:
            session.flush()
            settle(session, occurrence_id, self._clock.now())

    @staticmethod
    def complete(session: Session, row: OccurrenceRow) -> None:
        """One that has nothing to do."""
        row.state = OperationState.COMPLETED.value
        row.ended_at = row.created_at
        outbox.occurrence_changed(session, row, None, row.created_at)

    @staticmethod
    def tie(
        session: Session,
        occurrence_id: UUID,
        operation_id: UUID,
        deployment_id: UUID,
        *,
        is_undoing: bool,
    ) -> None:
        session.add(
            OccurrenceOperationRow(
                operation_id=operation_id,
                occurrence_id=occurrence_id,
                deployment_id=deployment_id,
                is_undoing=is_undoing,
            )
        )
        session.flush()

    def decide(self, occurrence_id: UUID, action: OperationAction) -> bool:
        """Note what somebody asked of it; False where its state does not allow that."""
        states, values = _DECISIONS[action]
        allowed = [state.value for state in states]
        with writing(self._engine) as session:
            noted = changed(
                session,
                update(OccurrenceRow)
                .where(
                    OccurrenceRow.occurrence_id == occurrence_id,
                    OccurrenceRow.state.in_(allowed),
                    OccurrenceRow.course == Course.FORWARD.value,
                )
                .values(**values),
            )
            if noted == 1:
                settle(session, occurrence_id, self._clock.now())
            return noted == 1

    def settle(self, occurrence_id: UUID) -> None:
        with writing(self._engine) as session:
            settle(session, occurrence_id, self._clock.now())

    # --- inside

    def _seen(self) -> ColumnElement[bool]:
        """Occurrences of which who asks may know the VNF instance or a member."""
        member = OccurrenceOperationRow.__table__.c
        instance_id = OccurrenceRow.__table__.c.vnf_instance_id
        return self._ownership.among(Kind.DEPLOYMENT, instance_id) | (
            select(OccurrenceOperationRow.operation_id)
            .where(
                member.occurrence_id == OccurrenceRow.occurrence_id,
                self._ownership.among(Kind.DEPLOYMENT, member.deployment_id),
            )
            .exists()
        )

    @staticmethod
    def _newest(
        session: Session, instance_ids: Collection[UUID] | None, *conditions: ColumnElement[bool]
    ) -> dict[UUID, OccurrenceRow]:
        last = select(func.max(OccurrenceRow.sequence)).group_by(OccurrenceRow.vnf_instance_id)
        if instance_ids is not None:
            last = last.where(OccurrenceRow.vnf_instance_id.in_(instance_ids))
        newest = last.where(*conditions)
        rows = session.scalars(select(OccurrenceRow).where(OccurrenceRow.sequence.in_(newest)))
        return {row.vnf_instance_id: row for row in rows}


_DECISIONS: dict[OperationAction, tuple[tuple[OperationState, ...], dict[str, Any]]] = {
    OperationAction.RETRY: (
        (OperationState.FAILED_TEMP,),
        {"tries": OccurrenceRow.tries + 1, "cancel_requested": False},
    ),
    OperationAction.ROLLBACK: ((OperationState.FAILED_TEMP,), {"course": Course.BACK.value}),
    OperationAction.FAIL: ((OperationState.FAILED_TEMP,), {"course": Course.GIVEN_UP.value}),
    OperationAction.CANCEL: (
        (OperationState.STARTING, OperationState.PROCESSING),
        {"cancel_requested": True},
    ),
}


def _never_came_up() -> ColumnElement[bool]:
    """Its instantiation was rolled back, and nothing of it is left."""
    undone = (
        select(OperationRow.operation_id)
        .where(
            OperationRow.deployment_id == DeploymentRow.deployment_id,
            OperationRow.kind == OperationKind.INSTANTIATE.value,
            OperationRow.state == OperationState.ROLLED_BACK.value,
        )
        .exists()
    )
    return (DeploymentRow.state == DeploymentState.FAILED.value) & undone
