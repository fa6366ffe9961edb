"""Turns of Alice in the database: past ones and the present one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Engine, func, select, update

from database import reading, writing
from orchestrator.events.bus import EventBus, TurnChanged
from orchestrator.store.tables import TurnRow
from qkd_scheduler.ports import UnitReading
from qkd_scheduler.states import FINAL, TurnState
from timekeeping import Clock


class Timetable:
    """The `TurnJournal` port of the schedule. Times are wall time."""

    def __init__(self, engine: Engine, clock: Clock, bus: EventBus) -> None:
        self._engine = engine
        self._clock = clock
        self._bus = bus

    def open(self, turn_id: UUID, alice: str, link: str, *, fencing: int, dwell_s: float) -> None:
        with writing(self._engine) as session:
            session.add(
                TurnRow(
                    turn_id=turn_id,
                    alice=alice,
                    link=link,
                    state=TurnState.WAITING.value,
                    detail="",
                    fencing=fencing,
                    dwell_s=dwell_s,
                    started_at=self._clock.now(),
                )
            )
        self._bus.publish(TurnChanged(turn_id))

    def enter(self, turn_id: UUID, state: TurnState, detail: str = "") -> None:
        values: dict[str, Any] = {"state": state.value, "detail": detail}
        if state is TurnState.GENERATING:
            values["generating_at"] = self._clock.now()
        if state in FINAL:
            values["ended_at"] = self._clock.now()
        self._set(turn_id, **values)

    def measured(self, turn_id: UUID, reading: UnitReading) -> None:
        self._set(turn_id, secret_key_rate_bps=reading.secret_key_rate_bps, qber=reading.qber)

    def unfinished(self, alice: str) -> list[TurnRow]:
        """Turns that a crash left in the middle."""
        return self._rows(
            select(TurnRow).where(
                TurnRow.alice == alice, TurnRow.state.not_in([state.value for state in FINAL])
            )
        )

    def recent(self, limit: int) -> list[TurnRow]:
        """The newest turns, newest first."""
        return self._rows(select(TurnRow).order_by(TurnRow.number.desc()).limit(limit))

    def last_numbers(self) -> dict[str, int]:
        """For each link the number of its last turn."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(TurnRow.link, func.max(TurnRow.number)).group_by(TurnRow.link)
            ).all()
        return {link: number for link, number in rows}

    def last_done(self, link: str) -> TurnRow | None:
        """The newest turn of this link that brought keys."""
        rows = self._rows(
            select(TurnRow)
            .where(TurnRow.link == link, TurnRow.state == TurnState.DONE.value)
            .order_by(TurnRow.number.desc())
            .limit(1)
        )
        return rows[0] if rows else None

    def _set(self, turn_id: UUID, **values: Any) -> None:
        with writing(self._engine) as session:
            session.execute(update(TurnRow).where(TurnRow.turn_id == turn_id).values(**values))
        self._bus.publish(TurnChanged(turn_id))

    def _rows(self, statement: Any) -> list[TurnRow]:
        with reading(self._engine) as session:
            rows = session.scalars(statement).all()
            session.expunge_all()
            return list(rows)
