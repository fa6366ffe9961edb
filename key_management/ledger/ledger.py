"""The ledger: every key of this end, its state, and the one message that it protects.

All changes are conditional updates whose row count is checked, so that two threads, two processes
or a restart can never move a key twice; the single use is the primary key of `key_use`.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from database import reading
from key_management.errors import (
    AccountsDifferError,
)
from key_management.ledger.history import Interval, history
from key_management.ledger.pads import Pads
from key_management.ledger.records import (
    Account,
    KeyRecord,
    Message,
    record_of,
)
from key_management.ledger.supply import Supply
from key_management.ledger.uses import Uses
from key_management.ledger.withdrawal import Withdrawal
from key_management.states import ERASED, KeyState
from key_management.tables import KeyAccountRow, KeyRow, KeyUseRow


class KeyLedger(Supply, Uses, Pads, Withdrawal):
    """One end's keys, of all its links. Thread-safe; every method is one transaction."""

    def get(self, link: str, key_id: UUID) -> KeyRecord:
        """The record of one key; UnknownKeyError if this end never held it."""
        with reading(self._engine) as session:
            return record_of(self._row(session, link, key_id))

    def find(self, key_id: UUID) -> KeyRecord | None:
        """The record of one key of whatever link."""
        with reading(self._engine) as session:
            row = session.get(KeyRow, key_id)
            return None if row is None else record_of(row)

    def use_of(self, link: str, key_id: UUID) -> Message | None:
        """What a key protects or protected; None if it never protected anything here."""
        with reading(self._engine) as session:
            use = session.get(KeyUseRow, (link, key_id))
            if use is None:
                return None
            return Message(use.transfer_id, use.image_digest, use.destination)

    def counts(self, link: str) -> dict[KeyState, int]:
        """How many keys of `link` are in each state; their sum is all that ever entered."""
        with reading(self._engine) as session:
            return _counts(session, link)

    def taken_since(self, link: str, since: datetime) -> int:
        """How many keys left the pool for use since then: what demand is estimated from."""
        taken = [KeyState.RESERVED, KeyState.ARMED, KeyState.CONSUMED]
        with reading(self._engine) as session:
            return (
                session.scalar(
                    select(func.count()).where(
                        KeyRow.link == link,
                        KeyRow.state.in_(taken),
                        KeyRow.changed_at >= since,
                    )
                )
                or 0
            )

    def history(
        self, link: str, *, until: datetime, interval_s: float, intervals: int
    ) -> list[Interval]:
        """What came and went in each of the last `intervals` intervals, oldest first."""
        return history(self._engine, link, until=until, interval_s=interval_s, intervals=intervals)

    def holds_emulated(self, link: str) -> bool:
        """Whether a free key of this link was made without a photon."""
        with reading(self._engine) as session:
            found = select(KeyRow.key_id).where(
                KeyRow.link == link,
                KeyRow.state == KeyState.AVAILABLE,
                KeyRow.emulated.is_(True),
            )
            return session.scalars(found.limit(1)).first() is not None

    def account(self, link: str) -> Account:
        """What became of every key that ever entered; both sides are read in one snapshot."""
        with reading(self._engine) as session:
            made = session.scalar(select(KeyAccountRow.made).where(KeyAccountRow.link == link))
            return Account(link, made or 0, _counts(session, link))

    def check_account(self, link: str) -> Account:
        """The account, which adds up. Raises AccountsDifferError: made is not the sum of states."""
        account = self.account(link)
        if account.missing:
            raise AccountsDifferError(
                f"{account.made} keys of {link} were made, and "
                f"{account.made - account.missing} are accounted for.",
                next_step="Somebody changed the database: stop, compare it with a backup.",
                link=link,
                missing_keys=account.missing,
            )
        return account

    def room_left(self, link: str) -> int:
        """How many further keys the capped pool of `link` takes."""
        counts = self.counts(link)
        live = sum(count for state, count in counts.items() if state not in ERASED)
        return max(0, self.capacity - live)


def _counts(session: Session, link: str) -> dict[KeyState, int]:
    rows = session.execute(
        select(KeyRow.state, func.count()).where(KeyRow.link == link).group_by(KeyRow.state)
    ).all()
    found = {KeyState(state): count for state, count in rows}
    return {state: found.get(state, 0) for state in KeyState}
