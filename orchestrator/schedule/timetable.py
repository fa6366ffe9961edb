"""Turns of the Alices in the database: past ones and the present ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, func, or_, select, update
from sqlalchemy.orm import Session

from database import in_transaction, reading
from orchestrator.events.bus import EventBus, TurnChanged
from orchestrator.store.tables import TurnRow
from qkd_scheduler.faults import Fault
from qkd_scheduler.measurements import Measured
from qkd_scheduler.states import FINAL, TurnState
from timekeeping import Clock

_ENTERED_AT = {
    TurnState.STANDBY: "standby_at",
    TurnState.INITIALISING: "initialising_at",
    TurnState.GENERATING: "generating_at",
    TurnState.DRAINING: "draining_at",
}
_FINAL = tuple(state.value for state in FINAL)


class Timetable:
    """The `TurnJournal` port of the schedule. Times are wall time."""

    def __init__(self, engine: Engine, clock: Clock, bus: EventBus) -> None:
        self._engine = engine
        self._clock = clock
        self._bus = bus

    # --- the journal ------------------------------------------------------------------------------

    def open(self, turn_id: UUID, alice: str, link: str, *, fencing: int, dwell_s: float) -> None:
        def add(session: Session) -> None:
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
                    blocks=0,
                    gained_keys=0,
                )
            )

        in_transaction(self._engine, add)
        self._bus.publish(TurnChanged(turn_id))

    def enter(
        self, turn_id: UUID, state: TurnState, detail: str = "", *, fault: Fault | None = None
    ) -> None:
        values: dict[str, Any] = {"state": state.value, "detail": detail}
        if fault is not None:
            values["fault"] = fault.value
        if state in _ENTERED_AT:
            values[_ENTERED_AT[state]] = self._clock.now()
        if state in FINAL:
            values["ended_at"] = self._clock.now()
        self._set(turn_id, **values)

    def measured(self, turn_id: UUID, measured: Measured) -> None:
        self._set(
            turn_id,
            blocks=measured.blocks,
            secret_key_rate_bps=measured.last_rate_bps,
            mean_rate_bps=measured.mean_rate_bps,
            qber=measured.last_qber,
            qber_min=measured.least_qber,
            qber_mean=measured.mean_qber,
            qber_max=measured.largest_qber,
        )

    def gained(self, turn_id: UUID, keys: int) -> None:
        self._set(turn_id, gained_keys=keys)

    # --- looking ----------------------------------------------------------------------------------

    def unfinished(self) -> list[TurnRow]:
        """The present turns, or those that a crash left in the middle."""
        return self._rows(
            select(TurnRow).where(TurnRow.state.not_in(_FINAL)).order_by(TurnRow.number)
        )

    def find(self, turn_id: UUID) -> TurnRow | None:
        """One turn, by its id."""
        rows = self._rows(select(TurnRow).where(TurnRow.turn_id == turn_id))
        return rows[0] if rows else None

    def recent(self, limit: int) -> list[TurnRow]:
        """The newest turns, newest first."""
        return self._rows(select(TurnRow).order_by(TurnRow.number.desc()).limit(limit))

    def since(self, at: datetime, limit: int) -> list[TurnRow]:
        """The newest turns of those that were under way at `at` or began later, newest first."""
        return self._rows(
            select(TurnRow)
            .where(or_(TurnRow.ended_at.is_(None), TurnRow.ended_at >= at))
            .order_by(TurnRow.number.desc())
            .limit(limit)
        )

    def recent_of(self, link: str, limit: int) -> list[TurnRow]:
        """The newest turns of one link, newest first."""
        return self._rows(
            select(TurnRow).where(TurnRow.link == link).order_by(TurnRow.number.desc()).limit(limit)
        )

    def last_number(self, link: str) -> int:
        """The number of this link's last turn; 0 if it never had one."""
        with reading(self._engine) as session:
            number = session.scalar(select(func.max(TurnRow.number)).where(TurnRow.link == link))
        return number or 0

    def first(self, link: str) -> TurnRow | None:
        """The first turn that this link ever had."""
        rows = self._rows(
            select(TurnRow).where(TurnRow.link == link).order_by(TurnRow.number).limit(1)
        )
        return rows[0] if rows else None

    def _set(self, turn_id: UUID, **values: Any) -> None:
        statement = update(TurnRow).where(TurnRow.turn_id == turn_id).values(**values)

        def change(session: Session) -> None:
            session.execute(statement)

        in_transaction(self._engine, change)
        self._bus.publish(TurnChanged(turn_id))

    def _rows(self, statement: Any) -> list[TurnRow]:
        with reading(self._engine) as session:
            rows = session.scalars(statement).all()
            session.expunge_all()
            return list(rows)
