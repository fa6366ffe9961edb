"""Keys are withdrawn: quarantine and expiry."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from database import reading
from key_management.ledger.records import (
    Quarantine,
)
from key_management.ledger.rows import LedgerRows, changed
from key_management.states import KeyState
from key_management.tables import KeyRow

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


class Withdrawal(LedgerRows):
    """Takes keys out of use that nobody was promised, or whose turn is suspicious."""

    def quarantine(self, link: str, turn: UUID, reason: str) -> int:
        """Give no key of this turn to anybody any more; what was armed already goes on.

        An operation that had reserved one finds it gone and takes another. Returns how many.
        """
        states = [KeyState.PENDING, KeyState.AVAILABLE, KeyState.RESERVED]
        return self._move_turn(
            link, turn, states, KeyState.QUARANTINED, reason=reason[:255], owner=None
        )

    def release_quarantined(self, link: str, turn: UUID) -> int:
        """An administrator found the turn to be sound: its keys are available again.

        What the other end had not confirmed is burned. Returns how many became available.
        """
        quarantined = (
            KeyRow.link == link,
            KeyRow.turn == turn,
            KeyRow.state == KeyState.QUARANTINED,
        )
        now = self._clock.now()

        def free(session: Session) -> int:
            freed = changed(
                session,
                update(KeyRow)
                .where(*quarantined, KeyRow.vendor_key_id.is_(None))
                .values(state=KeyState.AVAILABLE, reason=None, owner=None, changed_at=now),
            )
            session.execute(
                update(KeyRow)
                .where(*quarantined)
                .values(
                    state=KeyState.BURNED,
                    wrapped=None,
                    vendor_key_id=None,
                    reason="quarantined before both ends held it",
                    changed_at=now,
                )
            )
            return freed

        return self._in_transaction(free)

    def burn_quarantined(self, link: str, turn: UUID) -> int:
        """An administrator gave the turn up: its keys are erased."""
        return self._move_turn(
            link, turn, [KeyState.QUARANTINED], KeyState.BURNED, wrapped=None, vendor_key_id=None
        )

    def quarantined(self, link: str) -> list[Quarantine]:
        """What is in quarantine, by turn."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(
                    KeyRow.turn, func.count(), func.min(KeyRow.reason), func.min(KeyRow.changed_at)
                )
                .where(
                    KeyRow.link == link,
                    KeyRow.state == KeyState.QUARANTINED,
                    KeyRow.turn.is_not(None),
                )
                .group_by(KeyRow.turn)
            ).all()
        return [
            Quarantine(turn, count, reason or "", since)
            for turn, count, reason, since in rows
            if turn is not None
        ]

    def expire(self, link: str, made_before: datetime) -> int:
        """Erase keys that nobody was promised in all their lifetime; returns how many."""

        def end(session: Session) -> int:
            return changed(
                session,
                update(KeyRow)
                .where(
                    KeyRow.link == link,
                    KeyRow.state == KeyState.AVAILABLE,
                    KeyRow.made_at < made_before,
                )
                .values(
                    state=KeyState.EXPIRED,
                    wrapped=None,
                    vendor_key_id=None,
                    reason="older than its lifetime",
                    changed_at=self._clock.now(),
                ),
            )

        return self._in_transaction(end)

    def expire_older(self, link: str, older_than_s: float) -> int:
        """`expire` by this store's own clock."""
        return self.expire(link, self._clock.now() - timedelta(seconds=older_than_s))

    def burn_unreadable(self) -> int:
        """Burn what nobody can open, and log it: living keys whose wrapping key is gone. How many.

        So it is after a database was restored, whose keys were not (docs/deploy.md). For the start
        of a service: what it burns, no operation can use.
        """
        with reading(self._engine) as session:
            living = select(KeyRow.epoch).where(KeyRow.wrapped.is_not(None)).distinct()
            lost = set(session.scalars(living)) - self._wrapping.epochs()
        if not lost:
            return 0

        def burn(session: Session) -> int:
            return changed(
                session,
                update(KeyRow)
                .where(KeyRow.epoch.in_(lost), KeyRow.wrapped.is_not(None))
                .values(
                    state=KeyState.BURNED,
                    wrapped=None,
                    vendor_key_id=None,
                    reason="its wrapping key is gone",
                    changed_at=self._clock.now(),
                ),
            )

        burned = self._in_transaction(burn)
        if burned:
            log.warning("keys were burned that nobody can open any more", count=burned)
        return burned

    def _move_turn(
        self, link: str, turn: UUID, states: list[KeyState], target: KeyState, **values: Any
    ) -> int:
        def move(session: Session) -> int:
            return changed(
                session,
                update(KeyRow)
                .where(KeyRow.link == link, KeyRow.turn == turn, KeyRow.state.in_(states))
                .values(state=target, changed_at=self._clock.now(), **values),
            )

        return self._in_transaction(move)
