"""Promises of key bits by a time, and whether they were kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from database import in_transaction, reading
from orchestrator.projects.ownership import Kind, NoProjects, Ownership
from orchestrator.store.tables import OperationRow, PromiseRow
from timekeeping import Clock


class PromiseOutcome(StrEnum):
    KEPT = "kept"
    BROKEN = "broken"
    """The promised time passed without the keys."""
    WITHDRAWN = "withdrawn"
    """The operation needed them no more."""


@dataclass(frozen=True)
class Promise:
    """Key bits that an operation may count on. Moments are wall time."""

    operation_id: UUID
    link: str
    bits: int
    asked_at: datetime
    due_at: datetime
    promised_at: datetime
    ended_at: datetime | None = None
    outcome: PromiseOutcome | None = None


class PromiseBook:
    """Thread-safe; every method is one transaction."""

    def __init__(self, engine: Engine, clock: Clock, *, ownership: Ownership | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._ownership = ownership or NoProjects()

    def add(self, promise: Promise) -> Promise:
        """Record a promise; a second one of the same operation takes the place of the first."""

        def work(session: Session) -> None:
            row = session.get(PromiseRow, promise.operation_id, with_for_update=True)
            if row is None:
                row = PromiseRow(operation_id=promise.operation_id)
                session.add(row)
            row.link, row.bits = promise.link, promise.bits
            row.asked_at, row.due_at = promise.asked_at, promise.due_at
            row.promised_at = promise.promised_at
            row.ended_at = row.outcome = None

        in_transaction(self._engine, work)
        return promise

    def find(self, operation_id: UUID) -> Promise | None:
        with reading(self._engine) as session:
            row = session.get(PromiseRow, operation_id)
            return None if row is None else _promise(row)

    def open(self, link: str | None = None) -> list[Promise]:
        """Whose operation still waits for its keys, the most urgent first; broken ones too."""
        statement = (
            select(PromiseRow).where(PromiseRow.ended_at.is_(None)).order_by(PromiseRow.promised_at)
        )
        if link is not None:
            statement = statement.where(PromiseRow.link == link)
        with reading(self._engine) as session:
            return [_promise(row) for row in session.scalars(statement).all()]

    def recent(self, limit: int) -> list[Promise]:
        """Newest first; those alone whose operation who asks may know of."""
        seen = self._ownership.among(Kind.DEPLOYMENT, OperationRow.__table__.c.deployment_id)
        same = OperationRow.operation_id == PromiseRow.operation_id
        newest = select(PromiseRow).order_by(PromiseRow.asked_at.desc()).limit(limit)
        if self._ownership.visible() is not None:
            newest = newest.where(select(OperationRow.sequence).where(same, seen).exists())
        with reading(self._engine) as session:
            rows = session.scalars(newest).all()
            return [_promise(row) for row in rows]

    def end(self, operation_id: UUID, outcome: PromiseOutcome) -> None:
        """The operation has its keys, or gave up. What was broken stays so; repeatable."""
        now = self._clock.now()
        late = update(PromiseRow).where(
            PromiseRow.operation_id == operation_id,
            PromiseRow.outcome.is_(None),
            PromiseRow.promised_at < now,
        )
        first = update(PromiseRow).where(
            PromiseRow.operation_id == operation_id, PromiseRow.outcome.is_(None)
        )
        ends = update(PromiseRow).where(
            PromiseRow.operation_id == operation_id, PromiseRow.ended_at.is_(None)
        )

        def work(session: Session) -> None:
            if outcome is PromiseOutcome.KEPT:
                session.execute(late.values(outcome=PromiseOutcome.BROKEN.value))
            session.execute(first.values(outcome=outcome.value))
            session.execute(ends.values(ended_at=now))

        in_transaction(self._engine, work)

    def find_broken(self) -> list[Promise]:
        """Mark the promises whose time has passed; returns those that were not known yet."""
        now = self._clock.now()
        overdue = (
            PromiseRow.ended_at.is_(None),
            PromiseRow.outcome.is_(None),
            PromiseRow.promised_at < now,
        )
        with reading(self._engine) as session:
            rows = session.scalars(select(PromiseRow).where(*overdue)).all()
            broken = [_promise(row) for row in rows]
        if not broken:
            return []
        marked = update(PromiseRow).where(*overdue).values(outcome=PromiseOutcome.BROKEN.value)

        def work(session: Session) -> None:
            session.execute(marked)

        in_transaction(self._engine, work)
        return broken

    def counts(self) -> dict[PromiseOutcome, int]:
        """How many ended how, of all that ever were."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(PromiseRow.outcome, func.count())
                .where(PromiseRow.outcome.is_not(None))
                .group_by(PromiseRow.outcome)
            ).all()
        found = {outcome: count for outcome, count in rows}
        return {outcome: found.get(outcome.value, 0) for outcome in PromiseOutcome}

    def kept_share(self) -> float | None:
        """Of the promises that were kept or broken; None before there was one."""
        counts = self.counts()
        kept, broken = counts[PromiseOutcome.KEPT], counts[PromiseOutcome.BROKEN]
        return kept / (kept + broken) if kept + broken else None


def _promise(row: PromiseRow) -> Promise:
    return Promise(
        row.operation_id,
        row.link,
        row.bits,
        row.asked_at,
        row.due_at,
        row.promised_at,
        row.ended_at,
        PromiseOutcome(row.outcome) if row.outcome is not None else None,
    )
