"""Operations and their steps in the database: what REST, CLI and the log tell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, Select, func, select, update
from sqlalchemy.orm import Session

from database import changed, reading, writing
from orchestrator.errors import UnknownOperationError
from orchestrator.events.bus import EventBus, OperationChanged
from orchestrator.projects.ownership import Kind, NoProjects, Ownership
from orchestrator.store.tables import OperationRow, StepRow
from orchestrator.vnf_lcm.states import (
    ADMISSIBLE,
    ENDED,
    OnFailure,
    OperationKind,
    OperationState,
    StepState,
    sources_of,
)
from orchestrator.workflow.claims.fences import Fences
from problem_details import Problem
from timekeeping import Clock

Row = TypeVar("Row", OperationRow, StepRow)


class OperationJournal:
    """Thread-safe; every method is one transaction and tells the event bus.

    `follows` is called within the transaction that changes an operation's state, with its new row:
    what has to be true together with the state is written there.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        bus: EventBus,
        *,
        follows: Callable[[Session, OperationRow, datetime], None] | None = None,
        ownership: Ownership | None = None,
        fences: Fences | None = None,
    ) -> None:
        """With `fences` what somebody works on is written to by nobody who lost his claim to it:
        each method that a step or its runner calls raises ClaimLostError then."""
        self._engine = engine
        self._clock = clock
        self._bus = bus
        self._fences = fences
        self._follows = follows
        self._ownership = ownership or NoProjects()

    # --- operations -------------------------------------------------------------------------------

    def add(
        self,
        session: Session,
        operation_id: UUID,
        deployment_id: UUID,
        kind: OperationKind,
        steps: Sequence[str],
        *,
        wait_until: datetime | None,
        on_failure: OnFailure = OnFailure.ROLLBACK,
        parameters: dict[str, Any] | None = None,
        state_before: str | None = None,
    ) -> None:
        """Record a new operation within the caller's transaction."""
        row = OperationRow(
            operation_id=operation_id,
            deployment_id=deployment_id,
            kind=kind.value,
            state=OperationState.STARTING.value,
            on_failure=on_failure.value,
            tries=1,
            cancel_requested=False,
            transfer_id=operation_id,
            parameters=parameters,
            state_before=state_before,
            wait_until=wait_until,
            created_at=self._clock.now(),
        )
        session.add(row)
        session.add_all(
            StepRow(
                operation_id=operation_id,
                name=name,
                position=position,
                state=StepState.PENDING.value,
                runs=0,
            )
            for position, name in enumerate(steps)
        )
        if self._follows is not None:
            self._follows(session, row, row.created_at)

    def get(self, operation_id: UUID) -> OperationRow:
        seen = self._seen()
        with reading(self._engine) as session:
            row = session.scalars(
                select(OperationRow).where(OperationRow.operation_id == operation_id, seen)
            ).first()
            if row is None:
                raise UnknownOperationError(
                    f"There is no operation {operation_id}.",
                    next_step="List the operations with `qnfv op list`.",
                )
            session.expunge(row)
            return row

    def _seen(self) -> ColumnElement[bool]:
        """Operations of deployments that who asks may know of. It asks the database: before a
        session, not in one, or a request holds two connections."""
        return self._ownership.among(Kind.DEPLOYMENT, OperationRow.__table__.c.deployment_id)

    def in_states(self, states: Collection[OperationState]) -> list[OperationRow]:
        """Operations in these states, first come first."""
        these = select(OperationRow).where(OperationRow.state.in_(states))
        return self._rows(these.order_by(OperationRow.sequence))

    def ended_of(
        self, operation_ids: Collection[UUID], transfer_ids: Collection[UUID]
    ) -> list[OperationRow]:
        """Of these operations, and those of these transfers, the ones that are over."""
        among = OperationRow.operation_id.in_(operation_ids) | OperationRow.transfer_id.in_(
            transfer_ids
        )
        return self._rows(select(OperationRow).where(among, OperationRow.state.in_(ENDED)))

    def recent(self, limit: int) -> list[OperationRow]:
        """The newest operations, newest first."""
        newest = select(OperationRow).order_by(OperationRow.sequence.desc()).limit(limit)
        return self._rows(newest.where(self._seen()))

    def counts(self) -> dict[str, int]:
        """How many operations are in each state."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(OperationRow.state, func.count()).group_by(OperationRow.state)
            ).all()
        return {state: count for state, count in rows}

    def of_deployment(self, deployment_id: UUID) -> list[OperationRow]:
        of_it = select(OperationRow).where(OperationRow.deployment_id == deployment_id)
        return self._rows(of_it.order_by(OperationRow.sequence))

    def move(
        self,
        operation_id: UUID,
        target: OperationState,
        *,
        allowed: Collection[OperationState],
        error: Problem | None = None,
    ) -> bool:
        """Change the state if it is one of `allowed` from which there is a way; False otherwise."""
        now = self._clock.now()
        values: dict[str, Any] = {"state": target.value}
        if target is OperationState.PROCESSING:
            values["started_at"] = now
        if target in ENDED:
            values["ended_at"] = now
        if error is not None:
            values["error"] = _document(error)
        with writing(self._engine) as session:
            self._check_claim(session, operation_id)
            moved = changed(
                session,
                update(OperationRow)
                .where(
                    OperationRow.operation_id == operation_id,
                    OperationRow.state.in_(sources_of(target, allowed)),
                )
                .values(**values),
            )
            if moved:
                self._follow(session, operation_id, now)
        if moved:
            self._bus.publish(OperationChanged(operation_id))
        return moved == 1

    def _follow(self, session: Session, operation_id: UUID, now: datetime) -> None:
        if self._follows is not None:
            row = session.scalars(
                select(OperationRow).where(OperationRow.operation_id == operation_id)
            ).one()
            self._follows(session, row, now)

    def note_error(self, operation_id: UUID, error: Problem) -> None:
        """Why it fails, while its state is still the same."""
        with writing(self._engine) as session:
            self._check_claim(session, operation_id)
            session.execute(
                update(OperationRow)
                .where(OperationRow.operation_id == operation_id)
                .values(error=_document(error))
            )
        self._bus.publish(OperationChanged(operation_id))

    def _check_claim(self, session: Session, operation_id: UUID) -> None:
        if self._fences is not None:
            self._fences.check(session, operation_id)

    def request_cancel(self, operation_id: UUID) -> bool:
        """Note that somebody wants it to end; False where its state does not allow that."""
        with writing(self._engine) as session:
            noted = changed(
                session,
                update(OperationRow)
                .where(
                    OperationRow.operation_id == operation_id,
                    OperationRow.state.in_((*ADMISSIBLE, OperationState.PROCESSING)),
                )
                .values(cancel_requested=True),
            )
        if noted:
            self._bus.publish(OperationChanged(operation_id))
        return noted == 1

    def begin_again(
        self,
        operation_id: UUID,
        transfer_id: UUID,
        *,
        wait_until: datetime | None,
        after_try: int | None = None,
    ) -> bool:
        """A held operation starts its next try; steps that are done stay so. False if it is not
        held, or not any more since the try `after_try`."""
        held = [OperationRow.state == OperationState.FAILED_TEMP.value]
        if after_try is not None:
            held.append(OperationRow.tries == after_try)
        with writing(self._engine) as session:
            begun = changed(
                session,
                update(OperationRow)
                .where(OperationRow.operation_id == operation_id, *held)
                .values(
                    state=OperationState.STARTING.value,
                    tries=OperationRow.tries + 1,
                    transfer_id=transfer_id,
                    cancel_requested=False,
                    wait_until=wait_until,
                    error=None,
                ),
            )
            if begun:
                # What could not be undone yet keeps its mark, so that it is not forgotten.
                session.execute(
                    update(StepRow)
                    .where(
                        StepRow.operation_id == operation_id,
                        StepRow.state.not_in((StepState.DONE, StepState.UNDO_PENDING)),
                    )
                    .values(state=StepState.PENDING.value)
                )
                session.execute(
                    update(StepRow)
                    .where(StepRow.operation_id == operation_id, StepRow.state != StepState.DONE)
                    .values(started_at=None, ended_at=None, detail=None, error=None)
                )
                self._follow(session, operation_id, self._clock.now())
        if begun:
            self._bus.publish(OperationChanged(operation_id))
        return begun == 1

    # --- steps ------------------------------------------------------------------------------------

    def steps(self, operation_id: UUID) -> list[StepRow]:
        of_it = select(StepRow).where(StepRow.operation_id == operation_id)
        return self._rows(of_it.order_by(StepRow.position))

    def step_begins(self, operation_id: UUID, name: str) -> None:
        """The step runs (again); the time of its first start stays."""
        with writing(self._engine) as session:
            self._check_claim(session, operation_id)
            row = session.get_one(StepRow, (operation_id, name))
            row.state = StepState.RUNNING.value
            row.runs += 1
            row.started_at = row.started_at or self._clock.now()
        self._bus.publish(OperationChanged(operation_id))

    def step_ends(
        self,
        operation_id: UUID,
        name: str,
        state: StepState,
        *,
        detail: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        with writing(self._engine) as session:
            self._check_claim(session, operation_id)
            row = session.get_one(StepRow, (operation_id, name))
            row.state = state.value
            if state in (StepState.DONE, StepState.FAILED):
                row.ended_at = self._clock.now()
            if detail is not None:
                row.detail = {**(row.detail or {}), **detail}
            if error is not None:
                row.error = error
        self._bus.publish(OperationChanged(operation_id))

    def step_waits(self, operation_id: UUID, name: str, detail: dict[str, Any]) -> None:
        """The step has begun by waiting: its time runs, its work has not started."""
        with writing(self._engine) as session:
            self._check_claim(session, operation_id)
            row = session.get_one(StepRow, (operation_id, name))
            row.started_at = row.started_at or self._clock.now()
            row.detail = {**(row.detail or {}), **detail}
        self._bus.publish(OperationChanged(operation_id))

    def step(self, operation_id: UUID, name: str) -> StepRow:
        with reading(self._engine) as session:
            row = session.get_one(StepRow, (operation_id, name))
            session.expunge(row)
            return row

    def steps_to_undo(self, operation_id: UUID) -> list[str]:
        """Names of steps that began and were not undone yet, last step first."""
        return [
            row.name
            for row in reversed(self.steps(operation_id))
            if row.state not in (StepState.PENDING, StepState.UNDONE)
        ]

    def _rows(self, statement: Select[Row]) -> list[Row]:
        with reading(self._engine) as session:
            rows = session.scalars(statement).all()
            session.expunge_all()
            return list(rows)


def _document(error: Problem) -> dict[str, Any]:
    return error.model_dump(mode="json", exclude_none=True)
