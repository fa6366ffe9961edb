"""The database's word on who holds an operation.

A jobboard can be wrong: a replica may have been stopped for longer than its claim lived, or the
board may have lost its memory. So each claim has a number, one more than the claim before it, and
whoever works on an operation writes to its record only while his number is the newest. The check
and the write are one transaction, and a new claim waits for it: after that the older one is out.
"""

from __future__ import annotations

import threading
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from database import BinaryUuid, in_transaction, migrate, reading
from orchestrator.errors import ClaimLostError

MIGRATIONS = Path(__file__).parent / "migrations"


class Base(DeclarativeBase):
    pass


class ClaimRow(Base):
    __tablename__ = "operation_claim"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    operation_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    number: Mapped[int]


class Fences:
    """The claims of one process. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        """`engine` with the table of `migrate_claims`."""
        self._engine = engine
        self._lock = threading.Lock()
        self._held: dict[UUID, int | None] = {}
        """By operation the number that this process works under; None once it is lost."""

    def raise_for(self, operation_id: UUID) -> int:
        """Shut out whoever worked on it; the number under which this process does from now on."""
        try:
            number = in_transaction(self._engine, lambda session: _next(session, operation_id))
        except IntegrityError:  # two made its first claim at the same moment
            number = in_transaction(self._engine, lambda session: _next(session, operation_id))
        with self._lock:
            self._held[operation_id] = number
        return number

    def lose(self, operation_id: UUID) -> None:
        """This process must not write to it any more, whatever the database says."""
        with self._lock:
            if operation_id in self._held:
                self._held[operation_id] = None

    def drop(self, operation_id: UUID) -> None:
        """Nobody in this process works on it any more."""
        with self._lock:
            self._held.pop(operation_id, None)

    def check(self, session: Session, operation_id: UUID) -> None:
        """Within the transaction that writes to the operation's record. Raises ClaimLostError.

        An operation that this process does not work on may be written to: so do people.
        """
        with self._lock:
            if operation_id not in self._held:
                return
            number = self._held[operation_id]
        newest = session.scalar(
            select(ClaimRow.number)
            .where(ClaimRow.operation_id == operation_id)
            .with_for_update(read=True)
        )
        if number is None or newest != number:
            raise _lost(operation_id)

    def number(self, operation_id: UUID) -> int:
        """The number under which this process works on it; where it does not, the newest.

        Raises ClaimLostError.
        """
        with self._lock:
            held = operation_id in self._held
            number = self._held.get(operation_id)
        if not held:
            return self.newest(operation_id)
        if number is None:
            raise _lost(operation_id)
        return number

    def newest(self, operation_id: UUID) -> int:
        """The highest number that it was claimed under; 0 for none. It stays, for ever higher."""
        with reading(self._engine) as session:
            newest = session.scalar(
                select(ClaimRow.number).where(ClaimRow.operation_id == operation_id)
            )
        return newest or 0


def _lost(operation_id: UUID) -> ClaimLostError:
    return ClaimLostError(
        f"Another replica works on operation {operation_id} now.",
        next_step="Nothing needs to be done: it goes on there.",
    )


def _next(session: Session, operation_id: UUID) -> int:
    row = session.get(ClaimRow, operation_id, with_for_update=True)
    if row is None:
        row = ClaimRow(operation_id=operation_id, number=0)
        session.add(row)
    row.number += 1
    return row.number


def migrate_claims(engine: Engine) -> None:
    """Bring the table to its newest form; safe at every start."""
    migrate(engine, MIGRATIONS, room="claims")
