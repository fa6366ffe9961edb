"""Keys are withdrawn: quarantine and expiry."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from database import changed, in_batches, reading
from key_management.errors import WrappingKeyError
from key_management.ledger.records import Quarantine
from key_management.ledger.rows import LedgerRows
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

    def must_open(self) -> None:
        """Raises WrappingKeyError if keys live here and not one of them can be opened.

        Then the wrapping keys are elsewhere, rather than gone: a mistyped `state_dir`, a disk that
        is not mounted. What `burn_unreadable` would do cannot be undone, so a person says it.
        """
        living = self._living_epochs()
        if not living or living & self._wrapping.epochs() or self._wrapping.given_up.exists():
            return
        if not living & self._living_epochs():  # another process used the last of them just now
            return
        folder = self._wrapping.folder
        raise WrappingKeyError(
            f"No key of this store can be opened: {folder} has none of the {len(living)} wrapping"
            " keys that the database knows.",
            next_step="Correct `state_dir`, or bring that folder back. If it is gone for good, as"
            " after a database was restored, say so and start again: `touch"
            f" {self._wrapping.given_up}`. The keys are then burned.",
        )

    def burn_unreadable(self) -> int:
        """Burn what nobody can open, and log it: living keys whose wrapping key is gone. How many.

        So it is after a database was restored, whose keys were not (docs/deploy.md). For the start
        of a service: what it burns, no operation can use. Raises as `must_open`.
        """
        self.must_open()
        lost = self._living_epochs() - self._wrapping.epochs()
        with reading(self._engine) as session:
            rows = session.execute(
                select(KeyRow.key_id, KeyRow.epoch).where(
                    KeyRow.epoch.in_(lost), KeyRow.wrapped.is_not(None)
                )
            ).all()
        # Looked at once more after the rows: another process may have emptied an epoch and filled
        # it again. A wrapping key that is missing now opened none of the rows that live still.
        lost -= self._wrapping.epochs()
        unreadable = [key_id for key_id, epoch in rows if epoch in lost]

        def burn(session: Session) -> int:
            return sum(
                changed(
                    session,
                    update(KeyRow)
                    .where(KeyRow.key_id.in_(some), KeyRow.wrapped.is_not(None))
                    .values(
                        state=KeyState.BURNED,
                        wrapped=None,
                        vendor_key_id=None,
                        reason="its wrapping key is gone",
                        changed_at=self._clock.now(),
                    ),
                )
                for some in in_batches(unreadable)
            )

        burned = self._in_transaction(burn) if unreadable else 0
        if burned:
            log.warning("keys were burned that nobody can open any more", count=burned)
        self._wrapping.given_up.unlink(missing_ok=True)
        return burned

    def _living_epochs(self) -> set[UUID]:
        with reading(self._engine) as session:
            return set(
                session.scalars(select(KeyRow.epoch).where(KeyRow.wrapped.is_not(None)).distinct())
            )

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
