"""One leader at a time: a row with an owner, an expiry in the database's own time, and a number.

The number rises with every new leader and travels with each command to units and agents, which
refuse an older one; so a leader that was thought dead can do no harm when it wakes up.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import in_transaction
from orchestrator.store.tables import LeaseRow

_NOW_US = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "mysql": "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
    "mariadb": "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
}


class Lease:
    """The lease `name`, as one process tries to hold it."""

    def __init__(self, engine: Engine, name: str, owner: UUID, *, life_s: float = 10.0) -> None:
        self._engine = engine
        self._name = name
        self._owner = owner
        self.life_s = life_s

    def acquire(self) -> int | None:
        """Take or renew the lease; returns the fencing number, None while another holds it."""
        try:
            return in_transaction(self._engine, self._acquire)
        except IntegrityError:
            return None  # another process made the first row at the same moment

    def _acquire(self, session: Session) -> int | None:
        now_us = int(session.scalar(text(_NOW_US[self._engine.dialect.name])) or 0)
        until_us = now_us + int(self.life_s * 1e6)
        row = session.get(LeaseRow, self._name, with_for_update=True)
        if row is None:
            session.add(
                LeaseRow(name=self._name, owner=self._owner, expires_at_us=until_us, fencing=1)
            )
            return 1
        if row.owner != self._owner:
            if row.expires_at_us > now_us:
                return None
            row.owner = self._owner
            row.fencing += 1
        elif row.expires_at_us <= now_us:
            row.fencing += 1  # it lapsed; somebody may have led in between
        row.expires_at_us = until_us
        return row.fencing

    def release(self) -> None:
        """Let another take over at once."""

        def give_up(session: Session) -> None:
            row = session.get(LeaseRow, self._name, with_for_update=True)
            if row is not None and row.owner == self._owner:
                row.expires_at_us = 0

        in_transaction(self._engine, give_up)
