"""Alarms: what a person should look at. One stays open for each kind and subject."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from database import in_transaction, reading
from orchestrator.events.bus import AlarmChanged, EventBus
from orchestrator.projects.ownership import Kind, NoProjects, Ownership
from orchestrator.schedule.errors import UnknownAlarmError
from orchestrator.store.tables import AlarmRow
from timekeeping import Clock

log = structlog.get_logger(__name__)
Rows = list[AlarmRow]


class Alarms:
    """Thread-safe; every method is one transaction and tells the event bus."""

    def __init__(
        self, engine: Engine, clock: Clock, bus: EventBus, *, ownership: Ownership | None = None
    ) -> None:
        self._engine = engine
        self._ownership = ownership or NoProjects()
        self._clock = clock
        self._bus = bus

    def raise_(self, kind: str, subject: str, detail: str, turn_id: UUID | None = None) -> UUID:
        """Open an alarm, or note that an open one came again; returns its id."""

        def note(session: Session) -> UUID:
            now = self._clock.now()
            row = session.scalars(
                select(AlarmRow)
                .where(
                    AlarmRow.acknowledged_at.is_(None),
                    AlarmRow.subject == subject,
                    AlarmRow.kind == kind,
                )
                .with_for_update()
            ).first()
            if row is None:
                row = AlarmRow(
                    alarm_id=uuid4(), kind=kind, subject=subject, since=now, times=0, detail=""
                )
                session.add(row)
            row.detail, row.turn_id, row.last_at, row.over_at = detail, turn_id, now, None
            row.times += 1
            return row.alarm_id

        alarm_id = in_transaction(self._engine, note)
        log.error("alarm", kind=kind, subject=subject, why=detail)
        self._bus.publish(AlarmChanged(alarm_id))
        return alarm_id

    def over(self, subject: str) -> None:
        """Things go well again; what is open stays open until somebody acknowledges it."""
        statement = (
            update(AlarmRow)
            .where(AlarmRow.subject == subject, AlarmRow.over_at.is_(None))
            .values(over_at=self._clock.now())
        )

        def note(session: Session) -> list[UUID]:
            ids = session.scalars(
                select(AlarmRow.alarm_id).where(
                    AlarmRow.subject == subject, AlarmRow.over_at.is_(None)
                )
            ).all()
            session.execute(statement)
            return list(ids)

        for alarm_id in in_transaction(self._engine, note):
            self._bus.publish(AlarmChanged(alarm_id))

    def acknowledge(self, alarm_id: UUID) -> AlarmRow:
        """Somebody has seen it. Repeatable. Raises UnknownAlarmError."""

        def note(session: Session) -> AlarmRow:
            row = session.get(AlarmRow, alarm_id, with_for_update=True)
            if row is None or not self._seen([row]):
                raise UnknownAlarmError(
                    f"There is no alarm {alarm_id}.",
                    next_step="List them: `qnfv schedule alarms`.",
                )
            if row.acknowledged_at is None:
                row.acknowledged_at = self._clock.now()
            session.flush()
            session.expunge(row)
            return row

        row = in_transaction(self._engine, note)
        self._bus.publish(AlarmChanged(alarm_id))
        return row

    def list(self, *, acknowledged: bool = False, limit: int = 200) -> list[AlarmRow]:
        """Newest first; those that somebody acknowledged only where asked for. An alarm of a
        deployment is for those who may know of that."""
        statement = select(AlarmRow).order_by(AlarmRow.last_at.desc())
        if not acknowledged:
            statement = statement.where(AlarmRow.acknowledged_at.is_(None))
        if self._ownership.visible() is None:  # else those of others must not use up the limit
            statement = statement.limit(limit)
        with reading(self._engine) as session:
            rows = session.scalars(statement).all()
            session.expunge_all()
        return self._seen(rows)[:limit]

    def _seen(self, rows: Sequence[AlarmRow]) -> Rows:
        """Those that who asks may know of."""
        deployments = {row.alarm_id: id_ for row in rows if (id_ := _deployment(row)) is not None}
        seen = self._ownership.seen(Kind.DEPLOYMENT, set(deployments.values()))
        return [
            row
            for row in rows
            if row.alarm_id not in deployments or deployments[row.alarm_id].bytes in seen
        ]

    def open_counts(self) -> dict[str, int]:
        """How many are open, by kind."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(AlarmRow.kind, func.count())
                .where(AlarmRow.acknowledged_at.is_(None))
                .group_by(AlarmRow.kind)
            ).all()
        return {kind: count for kind, count in rows}


def _deployment(row: AlarmRow) -> UUID | None:
    """What an alarm is about, where that is a deployment; links and Alices have names."""
    try:
        return UUID(row.subject)
    except ValueError:
        return None
