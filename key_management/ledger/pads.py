"""Many keys for one message: a one-time pad, or the blocks of a relayed batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import changed, in_batches, reading
from key_management.errors import (
    KeyAlreadyUsedError,
    KeyStateError,
    NoKeyAvailableError,
)
from key_management.ledger.records import (
    KEY_BYTES,
    RECORD,
    KeyRecord,
    KeyUse,
    Message,
    record_of,
)
from key_management.ledger.rows import TRIES, LedgerRows, check_use
from key_management.states import KeyState
from key_management.tables import KeyRow, KeyUseRow

Result = TypeVar("Result")


class Pads(LedgerRows):
    """Reserve, arm, use and end many keys, all or none."""

    def reserve_many(
        self, link: str, owner: UUID, count: int, *, floor: int = 0
    ) -> list[KeyRecord]:
        """Promise the `count` oldest keys of `link` to `owner`, all or none. Repeatable.

        `floor` keys stay in the pool for others. In the order of their ids, which both ends share.
        Raises NoKeyAvailableError, which says how many there are.
        """

        def take(session: Session) -> list[KeyRecord] | None:
            held = self._held_all(session, link, owner)
            if len(held) == count:
                return held
            if any(record.state is KeyState.ARMED for record in held):
                raise KeyStateError(
                    f"{owner} has armed {len(held)} keys of {link} already, not {count}.",
                    next_step="Start anew; a new attempt takes new keys.",
                )
            # Part of them was taken out of use meanwhile: the whole pad is taken anew. The rest is
            # burned, not given back: the other end may have been told of it.
            self._set_all(
                session,
                [record.key_id for record in held],
                KeyState.BURNED,
                reason="part of its pad was taken out of use",
            )
            available = (KeyRow.link == link, KeyRow.state == KeyState.AVAILABLE)
            level = session.scalar(select(func.count()).where(*available)) or 0
            if level < count + floor:
                raise NoKeyAvailableError(
                    f"The pool of {link} holds {level} keys; {count} are needed"
                    + (f" and {floor} stay in reserve." if floor else "."),
                    next_step="Wait until Alice serves this link, or ask for keys now.",
                    link=link,
                    level_keys=level,
                    missing_keys=count + floor - level,
                )
            oldest = (
                select(KeyRow.key_id)
                .where(*available)
                .order_by(KeyRow.made_at, KeyRow.key_id)
                .limit(count)
                .with_for_update()
            )
            ids = list(session.scalars(oldest))
            if self._set_all(session, ids, KeyState.RESERVED, owner=owner) != count:
                session.rollback()
                return None  # somebody was faster; look again
            return self._held_all(session, link, owner)

        for _ in range(TRIES):
            taken = self._in_transaction(take)
            if taken is not None:
                return taken
        raise self._busy(link)

    def reserve_by_ids(self, link: str, key_ids: Collection[UUID], owner: UUID) -> list[KeyRecord]:
        """Promise these keys to `owner`, all or none (the receiving end, told by the sender)."""
        wanted = set(key_ids)

        def take(session: Session) -> list[KeyRecord]:
            held = self._held_all(session, link, owner)
            if held:
                if {record.key_id for record in held} != wanted:
                    raise KeyStateError(
                        f"{owner} holds other keys of {link} already.",
                        next_step="Start anew; a new attempt takes new keys.",
                    )
                return held
            records = self._records(session, link, wanted)
            if self._set_all(session, wanted, KeyState.RESERVED, owner=owner) != len(wanted):
                raise self._refusal_of(records, KeyState.AVAILABLE, KeyState.RESERVED)
            return self._held_all(session, link, owner)

        return self._in_transaction(take)

    def held_by_all(self, link: str, owner: UUID) -> list[KeyRecord]:
        """All keys that `owner` has reserved or armed, in the order of their ids."""
        with reading(self._engine) as session:
            return self._held_all(session, link, owner)

    def owned_by(self, link: str, owner: UUID) -> list[KeyRecord]:
        """All keys that `owner` was promised and never gave back, in the order of their ids."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(KeyRow)
                .where(KeyRow.link == link, KeyRow.owner == owner)
                .order_by(KeyRow.key_id)
            ).all()
            return [record_of(row) for row in rows]

    def arm_all(self, link: str, key_ids: Collection[UUID], message: Message) -> None:
        """Journal that these keys protect `message` together. Repeatable; all or none.

        Raises KeyAlreadyUsedError if one of them protects another message already.
        """
        ids = list(key_ids)

        def journal(session: Session) -> None:
            uses = self._uses(session, link, ids)
            for use in uses:
                check_use(use, message)
            records = self._records(session, link, ids)
            armed = [record.state is KeyState.ARMED for record in records.values()]
            if len(uses) == len(ids) and all(armed):
                return
            if uses or self._set_all(session, ids, KeyState.ARMED) != len(ids):
                raise self._refusal_of(records, KeyState.RESERVED, KeyState.ARMED)
            now = self._clock.now()
            session.execute(
                insert(KeyUseRow),
                [
                    {
                        "link": link,
                        "key_id": key_id,
                        "transfer_id": message.transfer_id,
                        "image_digest": message.image_digest,
                        "destination": message.destination,
                        "armed_at": now,
                    }
                    for key_id in ids
                ],
            )

        try:
            self._in_transaction(journal)
        except IntegrityError as error:
            raise KeyAlreadyUsedError(
                f"A key of {link} was armed for another message at the same moment.",
                next_step="Reserve new keys.",
                link=link,
            ) from error

    def with_armed_keys(
        self,
        link: str,
        key_ids: Sequence[UUID],
        message: Message,
        derive: Callable[[bytearray], Result],
    ) -> Result:
        """Call `derive` with the armed keys of `message`, joined in this order; then wipe them."""
        joined = bytearray(KEY_BYTES * len(key_ids))  # at once: a buffer that grows leaves copies
        unwrap = self._wrapping.opener()
        try:
            with reading(self._engine) as session:
                uses = {use.key_id: use for use in self._uses(session, link, key_ids)}
                rows = self._wrapped(session, link, key_ids)
                for place, key_id in enumerate(key_ids):
                    row, use = rows.get(key_id), uses.get(key_id)
                    if row is None or use is None:
                        raise self._refusal(self._row(session, link, key_id), KeyState.ARMED)
                    check_use(use, message)
                    key = unwrap(row.epoch, row.wrapped, self._context(key_id, link, row.epoch))
                    joined[KEY_BYTES * place : KEY_BYTES * (place + 1)] = key
                    key[:] = bytes(len(key))
            return derive(joined)
        finally:
            joined[:] = bytes(len(joined))

    def consume_all(self, link: str, key_ids: Collection[UUID]) -> None:
        """Their message was acknowledged, or their pad used up: erase them. Repeatable."""
        self._end_all(link, key_ids, KeyState.CONSUMED, "acknowledged")

    def burn_all(self, link: str, key_ids: Collection[UUID], reason: str) -> None:
        """Give these keys up and erase them, whatever their states. Repeatable."""
        self._end_all(link, key_ids, KeyState.BURNED, reason)

    def burn_for(self, link: str, key_ids: Collection[UUID], owner: UUID, reason: str) -> int:
        """Burn those of these keys that are free or promised to `owner`; returns how many.

        Others stay as they are: unknown ones, those of other owners, and what is over.
        """
        free = (KeyState.AVAILABLE, KeyState.QUARANTINED)
        promised = (KeyState.RESERVED, KeyState.ARMED)

        def burn(session: Session) -> int:
            burned = 0
            for some in in_batches(sorted(key_ids)):
                burned += changed(
                    session,
                    update(KeyRow)
                    .where(
                        KeyRow.link == link,
                        KeyRow.key_id.in_(some),
                        KeyRow.state.in_(free)
                        | KeyRow.state.in_(promised) & (KeyRow.owner == owner),
                    )
                    .values(
                        state=KeyState.BURNED,
                        wrapped=None,
                        vendor_key_id=None,
                        reason=reason[:255],
                        changed_at=self._clock.now(),
                    ),
                )
            return burned

        return self._in_transaction(burn)

    @staticmethod
    def _held_all(session: Session, link: str, owner: UUID) -> list[KeyRecord]:
        rows = session.execute(
            select(*RECORD)
            .where(
                KeyRow.link == link,
                KeyRow.owner == owner,
                KeyRow.state.in_([KeyState.RESERVED, KeyState.ARMED]),
            )
            .order_by(KeyRow.key_id)
        ).all()
        return [record_of(row) for row in rows]

    @classmethod
    def _refusal_of(
        cls, records: Mapping[UUID, KeyRecord], needed: KeyState, target: KeyState
    ) -> KeyStateError:
        """About the first key that is not as needed."""
        first = next(iter(records.values()))
        other = (record for record in records.values() if record.state is not needed)
        return cls._refusal(next(other, first), target)

    @staticmethod
    def _wrapped(session: Session, link: str, key_ids: Collection[UUID]) -> dict[UUID, Any]:
        """Epoch and wrapped bytes of those of these keys that are armed."""
        found: dict[UUID, Any] = {}
        for some in in_batches(key_ids):
            statement = select(KeyRow.key_id, KeyRow.epoch, KeyRow.wrapped).where(
                KeyRow.link == link, KeyRow.key_id.in_(some), KeyRow.state == KeyState.ARMED
            )
            found |= {row.key_id: row for row in session.execute(statement)}
        return found

    @staticmethod
    def _uses(session: Session, link: str, key_ids: Collection[UUID]) -> list[KeyUse]:
        uses: list[KeyUse] = []
        for some in in_batches(key_ids):
            statement = select(
                KeyUseRow.link,
                KeyUseRow.key_id,
                KeyUseRow.transfer_id,
                KeyUseRow.image_digest,
                KeyUseRow.destination,
            ).where(KeyUseRow.link == link, KeyUseRow.key_id.in_(some))
            uses += [KeyUse(*row) for row in session.execute(statement)]
        return uses
