"""Keys come in, are confirmed or discarded, and their wrapping keys go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import changed, in_batches, reading
from key_management.ledger.records import (
    ExtractedKey,
)
from key_management.ledger.rows import LedgerRows
from key_management.states import KeyState
from key_management.tables import KeyAccountRow, KeyRow

Result = TypeVar("Result")


class Supply(LedgerRows):
    """How keys enter a ledger, and how their last traces leave it."""

    def add_pending(
        self,
        link: str,
        epoch: UUID,
        keys: Iterable[ExtractedKey],
        *,
        emulated: bool,
        turn: UUID | None = None,
    ) -> list[UUID]:
        """Store keys that the other end has still to confirm; returns the ids that entered.

        A key that was here before, under whatever id, does not enter again. The given buffers are
        wiped. `turn` is what they may be quarantined by.
        """
        entered: list[UUID] = []
        with self._wrapping.in_use(epoch):  # it is not drained, only not filled yet
            for some in in_batches(keys):
                entered += self._add_some(link, epoch, some, emulated=emulated, turn=turn)
        return entered

    def _add_some(
        self,
        link: str,
        epoch: UUID,
        keys: list[ExtractedKey],
        *,
        emulated: bool,
        turn: UUID | None,
    ) -> list[UUID]:
        now = self._clock.now()
        rows: dict[bytes, dict[str, Any]] = {}
        for key in keys:
            fingerprint = self._wrapping.fingerprint(link, key.key)
            if not any(key.key) or fingerprint in rows:
                key.wipe()  # an all-zero or repeated block is no key
                continue
            rows[fingerprint] = {
                "key_id": key.key_id,
                "link": link,
                "state": KeyState.PENDING,
                "epoch": epoch,
                "turn": turn,
                "vendor_key_id": key.vendor_key_id,
                "wrapped": self._wrapping.wrap(
                    epoch, key.key, self._context(key.key_id, link, epoch)
                ),
                "fingerprint": fingerprint,
                "emulated": emulated,
                "made_at": now,
                "changed_at": now,
            }
            key.wipe()

        def store(session: Session) -> list[UUID]:
            known = set(
                session.scalars(
                    select(KeyRow.fingerprint).where(KeyRow.fingerprint.in_(list(rows)))
                )
            )
            fresh = [row for fingerprint, row in rows.items() if fingerprint not in known]
            if fresh:
                session.execute(insert(KeyRow), fresh)
                self._count_made(session, link, len(fresh))
            return [row["key_id"] for row in fresh]

        return self._in_transaction(store)

    def confirm(self, link: str, epoch: UUID, agreed: Collection[UUID]) -> int:
        """The other end holds `agreed`: make them available and burn the rest of the turn.

        Safe to repeat. Returns how many keys became available.
        """
        now = self._clock.now()
        pending = (
            KeyRow.link == link,
            KeyRow.epoch == epoch,
            KeyRow.state == KeyState.PENDING,
        )

        def promote(session: Session) -> int:
            available = 0
            for some in in_batches(agreed):
                available += changed(
                    session,
                    update(KeyRow)
                    .where(*pending, KeyRow.key_id.in_(some))
                    .values(state=KeyState.AVAILABLE, vendor_key_id=None, changed_at=now),
                )
            session.execute(
                update(KeyRow)
                .where(*pending)
                .values(
                    state=KeyState.BURNED,
                    wrapped=None,
                    vendor_key_id=None,
                    reason="not held by both ends",
                    changed_at=now,
                )
            )
            return available

        return self._in_transaction(promote)

    def discard(self, link: str, epoch: UUID) -> int:
        """Burn every key of this turn that no operation holds; returns how many."""
        free = [KeyState.PENDING, KeyState.AVAILABLE]

        def burn(session: Session) -> int:
            return changed(
                session,
                update(KeyRow)
                .where(KeyRow.link == link, KeyRow.epoch == epoch, KeyRow.state.in_(free))
                .values(
                    state=KeyState.BURNED,
                    wrapped=None,
                    vendor_key_id=None,
                    reason="extraction was interrupted",
                    changed_at=self._clock.now(),
                ),
            )

        return self._in_transaction(burn)

    def pending(self, link: str) -> dict[UUID, list[tuple[UUID, bytes]]]:
        """Unconfirmed keys by turn, as (key id, vendor's id): a crashed extraction's remains."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(KeyRow.epoch, KeyRow.key_id, KeyRow.vendor_key_id)
                .where(KeyRow.link == link, KeyRow.state == KeyState.PENDING)
                .order_by(KeyRow.key_id)
            ).all()
        turns: dict[UUID, list[tuple[UUID, bytes]]] = {}
        for epoch, key_id, vendor_key_id in rows:
            turns.setdefault(epoch, []).append((key_id, vendor_key_id or b""))
        return turns

    def with_pending_keys(
        self,
        link: str,
        epoch: UUID,
        ids: Collection[UUID],
        compute: Callable[[dict[UUID, bytearray]], Result],
    ) -> Result:
        """Call `compute` with the unconfirmed keys of a turn, then wipe them."""
        keys: dict[UUID, bytearray] = {}
        wanted = set(ids)
        with reading(self._engine) as session:
            rows = session.scalars(
                select(KeyRow).where(
                    KeyRow.link == link, KeyRow.epoch == epoch, KeyRow.state == KeyState.PENDING
                )
            ).all()
            for row in rows:
                if row.key_id in wanted and row.wrapped is not None:
                    keys[row.key_id] = self._wrapping.unwrap(
                        epoch, row.wrapped, self._context(row.key_id, link, epoch)
                    )
        try:
            return compute(keys)
        finally:
            for key in keys.values():
                key[:] = bytes(len(key))

    def destroy_drained_epochs(self) -> list[UUID]:
        """Destroy the wrapping key of every turn without a living key; returns those turns.

        Safe beside other processes that fill or drain the same store.
        """
        candidates = self._wrapping.epochs()
        if not candidates:
            return []
        living = select(KeyRow.epoch).where(KeyRow.wrapped.is_not(None))
        with reading(self._engine) as session:
            alive = set(session.scalars(living.distinct()))

        def came_alive(epoch: UUID) -> bool:
            with reading(self._engine) as session:
                return (
                    session.scalars(living.where(KeyRow.epoch == epoch).limit(1)).first()
                    is not None
                )

        return [
            epoch
            for epoch in candidates - alive
            if self._wrapping.destroy_unless(epoch, partial(came_alive, epoch))
        ]

    @staticmethod
    def _count_made(session: Session, link: str, count: int) -> None:
        more = (
            update(KeyAccountRow)
            .where(KeyAccountRow.link == link)
            .values(made=KeyAccountRow.made + count)
        )
        if changed(session, more):
            return
        try:
            with session.begin_nested():
                session.execute(insert(KeyAccountRow), [{"link": link, "made": count}])
        except IntegrityError:  # another thread opened the account at the same moment
            session.execute(more)
