"""One key for one message."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import reading
from key_management.errors import (
    KeyAlreadyUsedError,
    NoKeyAvailableError,
)
from key_management.ledger.records import (
    KeyRecord,
    Message,
    record_of,
)
from key_management.ledger.rows import TRIES, LedgerRows, check_use
from key_management.states import KeyState
from key_management.tables import KeyRow, KeyUseRow

Result = TypeVar("Result")


class Uses(LedgerRows):
    """Reserve, arm, use and end a single key."""

    def reserve(self, link: str, owner: UUID) -> KeyRecord:
        """Promise the oldest available key of `link` to `owner`; the same one when asked again."""
        for _ in range(TRIES):
            taken = self._in_transaction(lambda session: self._take_oldest(session, link, owner))
            if taken is not None:
                return taken
        raise self._busy(link)

    def held_by(self, link: str, owner: UUID) -> KeyRecord | None:
        """The key that `owner` has reserved or armed, None if there is none."""
        with reading(self._engine) as session:
            return self._held(session, link, owner)

    def owners_of_reserved(self, links: Collection[str]) -> set[UUID]:
        """Whom keys of these links are promised to that protect nothing yet."""
        promised = (KeyRow.link.in_(links), KeyRow.state == KeyState.RESERVED)
        with reading(self._engine) as session:
            owners = session.scalars(select(KeyRow.owner).where(*promised).distinct()).all()
        return {owner for owner in owners if owner is not None}

    @staticmethod
    def _held(session: Session, link: str, owner: UUID) -> KeyRecord | None:
        row = session.scalars(
            select(KeyRow).where(
                KeyRow.link == link,
                KeyRow.owner == owner,
                KeyRow.state.in_([KeyState.RESERVED, KeyState.ARMED]),
            )
        ).first()
        return None if row is None else record_of(row)

    def _take_oldest(self, session: Session, link: str, owner: UUID) -> KeyRecord | None:
        held = self._held(session, link, owner)
        if held is not None:
            return held
        row = session.scalars(
            select(KeyRow)
            .where(KeyRow.link == link, KeyRow.state == KeyState.AVAILABLE)
            .order_by(KeyRow.made_at, KeyRow.key_id)
            .limit(1)
        ).first()
        if row is None:
            raise NoKeyAvailableError(
                f"The pool of {link} is empty.",
                next_step="Wait until Alice serves this link, or ask for keys now.",
                link=link,
            )
        if self._move(session, row, KeyState.RESERVED, owner=owner):
            return record_of(row)
        return None  # somebody was faster; look again

    def reserve_by_id(self, link: str, key_id: UUID, owner: UUID) -> KeyRecord:
        """Promise one named key to `owner` (the receiving end, told by the sender)."""

        def take(session: Session) -> KeyRecord:
            row = self._row(session, link, key_id)
            if row.owner == owner and row.state in (KeyState.RESERVED, KeyState.ARMED):
                return record_of(row)
            if not self._move(session, row, KeyState.RESERVED, owner=owner):
                raise self._refusal(row, KeyState.RESERVED)
            return record_of(row)

        return self._in_transaction(take)

    def arm(self, link: str, key_id: UUID, message: Message) -> None:
        """Journal that the key protects `message`, before the first byte leaves. Repeatable.

        Raises KeyAlreadyUsedError if it protects another message already.
        """

        def journal(session: Session) -> None:
            row = self._row(session, link, key_id)
            use = session.get(KeyUseRow, (link, key_id))
            if use is not None:
                check_use(use, message)
                if row.state == KeyState.ARMED:
                    return
                raise self._refusal(row, KeyState.ARMED)
            if not self._move(session, row, KeyState.ARMED):
                raise self._refusal(row, KeyState.ARMED)
            session.add(
                KeyUseRow(
                    link=link,
                    key_id=key_id,
                    transfer_id=message.transfer_id,
                    image_digest=message.image_digest,
                    destination=message.destination,
                    armed_at=self._clock.now(),
                )
            )

        try:
            self._in_transaction(journal)
        except IntegrityError as error:
            raise KeyAlreadyUsedError(
                f"Key {key_id} of {link} was armed for another message at the same moment.",
                next_step="Reserve a new key.",
                key_id=str(key_id),
            ) from error

    def with_armed_key(
        self, link: str, key_id: UUID, message: Message, derive: Callable[[bytearray], Result]
    ) -> Result:
        """Call `derive` with the key of an armed message, then wipe the buffer."""
        with reading(self._engine) as session:
            row = self._row(session, link, key_id)
            use = session.get(KeyUseRow, (link, key_id))
            if row.state != KeyState.ARMED or use is None or row.wrapped is None:
                raise self._refusal(row, KeyState.ARMED)
            check_use(use, message)
            key = self._wrapping.unwrap(
                row.epoch, row.wrapped, self._context(key_id, link, row.epoch)
            )
        try:
            return derive(key)
        finally:
            key[:] = bytes(len(key))

    def consume(self, link: str, key_id: UUID) -> None:
        """The message was acknowledged: erase the key. Repeatable."""
        self._end(link, key_id, KeyState.CONSUMED, "acknowledged")

    def burn(self, link: str, key_id: UUID, reason: str) -> None:
        """Give the key up and erase it, whatever its state. Repeatable."""
        self._end(link, key_id, KeyState.BURNED, reason)

    def release(self, owner: UUID, reason: str) -> None:
        """An operation ended without success: its unused keys go back, its armed ones burn."""

        now = self._clock.now()

        def give_back(session: Session) -> None:
            session.execute(
                update(KeyRow)
                .where(KeyRow.owner == owner, KeyRow.state == KeyState.ARMED)
                .values(
                    state=KeyState.BURNED,
                    wrapped=None,
                    vendor_key_id=None,
                    reason=reason[:255],
                    changed_at=now,
                )
            )
            session.execute(
                update(KeyRow)
                .where(KeyRow.owner == owner, KeyRow.state == KeyState.RESERVED)
                .values(state=KeyState.AVAILABLE, owner=None, changed_at=now)
            )

        self._in_transaction(give_back)
