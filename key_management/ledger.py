"""The ledger: every key of this end, its state, and the one message that it protects.

All changes are conditional updates whose row count is checked, so that two threads, two processes
or a restart can never move a key twice; the single use is the primary key of `key_use`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast
from uuid import UUID

from sqlalchemy import CursorResult, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from database import reading, writing
from key_management.errors import (
    AccountsDifferError,
    KeyAlreadyUsedError,
    KeyStateError,
    NoKeyAvailableError,
    UnknownKeyError,
)
from key_management.states import ALLOWED, ERASED, KeyState
from key_management.tables import KeyAccountRow, KeyRow, KeyUseRow
from key_management.wrapping import WrappingKeys
from timekeeping import Clock

KEY_BYTES = 32
_BATCH = 500
_TRIES = 64
_GAVE_WAY = ((1213,), (1205,))
"""MariaDB's errors for a deadlock and for a lock that was not released in time."""
Result = TypeVar("Result")


@dataclass
class ExtractedKey:
    """A key as a QKD unit delivered it, on its way into the ledger; never shown."""

    key_id: UUID
    vendor_key_id: bytes
    key: bytearray = field(repr=False)

    def wipe(self) -> None:
        """Overwrite the bytes (best effort: Python may have copied them before)."""
        self.key[:] = bytes(len(self.key))


@dataclass(frozen=True)
class Message:
    """What a key protects: one image on its way to one destination, however many attempts."""

    transfer_id: UUID
    image_digest: bytes
    destination: str


@dataclass(frozen=True)
class KeyRecord:
    """What may be said about a key: everything but the key."""

    key_id: UUID
    link: str
    state: KeyState
    epoch: UUID
    emulated: bool
    owner: UUID | None
    turn: UUID | None = None
    made_at: datetime | None = None


_RECORD = (
    KeyRow.key_id,
    KeyRow.link,
    KeyRow.state,
    KeyRow.epoch,
    KeyRow.emulated,
    KeyRow.owner,
    KeyRow.turn,
    KeyRow.made_at,
)
"""The columns of a record: of many keys, these alone are read."""


def _record(row: Any) -> KeyRecord:
    return KeyRecord(
        row.key_id,
        row.link,
        KeyState(row.state),
        row.epoch,
        row.emulated,
        row.owner,
        row.turn,
        row.made_at,
    )


class KeyUse(NamedTuple):
    """What a key was armed for."""

    link: str
    key_id: UUID
    transfer_id: UUID
    image_digest: bytes
    destination: str


@dataclass(frozen=True)
class Quarantine:
    """Keys of one turn that are given to nobody until an administrator decides."""

    turn: UUID
    keys: int
    reason: str
    since: datetime


@dataclass(frozen=True)
class Account:
    """What became of all keys of a link that ever entered; `made` is counted for itself."""

    link: str
    made: int
    counts: dict[KeyState, int]

    @property
    def missing(self) -> int:
        """Made, but in no state: 0, or the store was tampered with."""
        return self.made - sum(self.counts.values())


class KeyLedger:
    """One end's keys, of all its links. Thread-safe; every method is one transaction."""

    def __init__(
        self,
        engine: Engine,
        wrapping: WrappingKeys,
        clock: Clock,
        *,
        capacity: int = 4096,
    ) -> None:
        self._engine = engine
        self._wrapping = wrapping
        self._clock = clock
        self.capacity = capacity

    # --- keys come in -------------------------------------------------------------------------

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
        batch = list(keys)
        with self._wrapping.in_use(epoch):  # it is not drained, only not filled yet
            for start in range(0, len(batch), _BATCH):
                some = batch[start : start + _BATCH]
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
            ids = list(agreed)
            for start in range(0, len(ids), _BATCH):
                available += _changed(
                    session,
                    update(KeyRow)
                    .where(*pending, KeyRow.key_id.in_(ids[start : start + _BATCH]))
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
            return _changed(
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

    # --- keys are used ------------------------------------------------------------------------

    def reserve(self, link: str, owner: UUID) -> KeyRecord:
        """Promise the oldest available key of `link` to `owner`; the same one when asked again."""
        for _ in range(_TRIES):
            taken = self._in_transaction(lambda session: self._take_oldest(session, link, owner))
            if taken is not None:
                return taken
        raise self._busy(link)

    def held_by(self, link: str, owner: UUID) -> KeyRecord | None:
        """The key that `owner` has reserved or armed, None if there is none."""
        with reading(self._engine) as session:
            return self._held(session, link, owner)

    @staticmethod
    def _held(session: Session, link: str, owner: UUID) -> KeyRecord | None:
        row = session.scalars(
            select(KeyRow).where(
                KeyRow.link == link,
                KeyRow.owner == owner,
                KeyRow.state.in_([KeyState.RESERVED, KeyState.ARMED]),
            )
        ).first()
        return None if row is None else _record(row)

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
            return _record(row)
        return None  # somebody was faster; look again

    def reserve_by_id(self, link: str, key_id: UUID, owner: UUID) -> KeyRecord:
        """Promise one named key to `owner` (the receiving end, told by the sender)."""

        def take(session: Session) -> KeyRecord:
            row = self._row(session, link, key_id)
            if row.owner == owner and row.state in (KeyState.RESERVED, KeyState.ARMED):
                return _record(row)
            if not self._move(session, row, KeyState.RESERVED, owner=owner):
                raise self._refusal(row, KeyState.RESERVED)
            return _record(row)

        return self._in_transaction(take)

    def arm(self, link: str, key_id: UUID, message: Message) -> None:
        """Journal that the key protects `message`, before the first byte leaves. Repeatable.

        Raises KeyAlreadyUsedError if it protects another message already.
        """

        def journal(session: Session) -> None:
            row = self._row(session, link, key_id)
            use = session.get(KeyUseRow, (link, key_id))
            if use is not None:
                _check_use(use, message)
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
            _check_use(use, message)
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

    # --- many keys for one message: a one-time pad ------------------------------------------------

    def reserve_many(
        self, link: str, owner: UUID, count: int, *, floor: int = 0
    ) -> list[KeyRecord]:
        """Promise the `count` oldest keys of `link` to `owner`, all or none. Repeatable.

        `floor` keys stay in the pool for others. In the order of their ids, which both ends share.
        Raises NoKeyAvailableError, which says how many there are.
        """

        def take(session: Session) -> list[KeyRecord] | None:
            held = self._held_all(session, link, owner)
            if held:
                return held
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

        for _ in range(_TRIES):
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
            return [_record(row) for row in rows]

    def arm_all(self, link: str, key_ids: Collection[UUID], message: Message) -> None:
        """Journal that these keys protect `message` together. Repeatable; all or none.

        Raises KeyAlreadyUsedError if one of them protects another message already.
        """
        ids = list(key_ids)

        def journal(session: Session) -> None:
            uses = self._uses(session, link, ids)
            for use in uses:
                _check_use(use, message)
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
                    _check_use(use, message)
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
            for some in _batches(sorted(key_ids)):
                burned += _changed(
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

    # --- keys are withdrawn -----------------------------------------------------------------------

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
            freed = _changed(
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
            return _changed(
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

    # --- what both ends compare -----------------------------------------------------------------

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

    # --- what is said about keys ----------------------------------------------------------------

    def get(self, link: str, key_id: UUID) -> KeyRecord:
        """The record of one key; UnknownKeyError if this end never held it."""
        with reading(self._engine) as session:
            return _record(self._row(session, link, key_id))

    def find(self, key_id: UUID) -> KeyRecord | None:
        """The record of one key of whatever link."""
        with reading(self._engine) as session:
            row = session.get(KeyRow, key_id)
            return None if row is None else _record(row)

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
            rows = session.execute(
                select(KeyRow.state, func.count()).where(KeyRow.link == link).group_by(KeyRow.state)
            ).all()
        found = {KeyState(state): count for state, count in rows}
        return {state: found.get(state, 0) for state in KeyState}

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
            rows = session.execute(
                select(KeyRow.state, func.count()).where(KeyRow.link == link).group_by(KeyRow.state)
            ).all()
        found = {KeyState(state): count for state, count in rows}
        return Account(link, made or 0, {state: found.get(state, 0) for state in KeyState})

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

    # --- erasure ----------------------------------------------------------------------------

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

    # --- inside ---------------------------------------------------------------------------------

    @staticmethod
    def _count_made(session: Session, link: str, count: int) -> None:
        more = (
            update(KeyAccountRow)
            .where(KeyAccountRow.link == link)
            .values(made=KeyAccountRow.made + count)
        )
        if _changed(session, more):
            return
        try:
            with session.begin_nested():
                session.execute(insert(KeyAccountRow), [{"link": link, "made": count}])
        except IntegrityError:  # another thread opened the account at the same moment
            session.execute(more)

    @staticmethod
    def _held_all(session: Session, link: str, owner: UUID) -> list[KeyRecord]:
        rows = session.execute(
            select(*_RECORD)
            .where(
                KeyRow.link == link,
                KeyRow.owner == owner,
                KeyRow.state.in_([KeyState.RESERVED, KeyState.ARMED]),
            )
            .order_by(KeyRow.key_id)
        ).all()
        return [_record(row) for row in rows]

    def _set_all(
        self,
        session: Session,
        key_ids: Collection[UUID],
        target: KeyState,
        *,
        owner: UUID | None = None,
        reason: str | None = None,
    ) -> int:
        """Compare and set many keys; returns how many were in a state that allows `target`."""
        values: dict[str, Any] = {"state": target, "changed_at": self._clock.now()}
        if owner is not None:
            values["owner"] = owner
        if target in ERASED:
            values |= {"wrapped": None, "vendor_key_id": None, "reason": reason}
        before = [state for state, following in ALLOWED.items() if target in following]
        if target is KeyState.RESERVED:
            before = [KeyState.AVAILABLE]
        changed = 0
        for some in _batches(key_ids):
            changed += _changed(
                session,
                update(KeyRow)
                .where(KeyRow.key_id.in_(some), KeyRow.state.in_(before))
                .values(**values)
                .execution_options(synchronize_session=False),
            )
        return changed

    def _end_all(self, link: str, key_ids: Collection[UUID], state: KeyState, reason: str) -> None:
        def erase(session: Session) -> None:
            self._set_all(session, key_ids, state, reason=reason)
            for record in self._records(session, link, key_ids).values():
                if record.state is not state:
                    raise self._refusal(record, state)

        self._in_transaction(erase)

    def _move_turn(
        self, link: str, turn: UUID, states: list[KeyState], target: KeyState, **values: Any
    ) -> int:
        def move(session: Session) -> int:
            return _changed(
                session,
                update(KeyRow)
                .where(KeyRow.link == link, KeyRow.turn == turn, KeyRow.state.in_(states))
                .values(state=target, changed_at=self._clock.now(), **values),
            )

        return self._in_transaction(move)

    def _records(
        self, session: Session, link: str, key_ids: Collection[UUID]
    ) -> dict[UUID, KeyRecord]:
        """The records of these keys; UnknownKeyError if this end never held one of them."""
        found: dict[UUID, KeyRecord] = {}
        for some in _batches(key_ids):
            statement = select(*_RECORD).where(KeyRow.link == link, KeyRow.key_id.in_(some))
            for row in session.execute(statement):
                found[row.key_id] = _record(row)
        for key_id in key_ids:
            if key_id not in found:
                self._row(session, link, key_id)
        return found

    @staticmethod
    def _wrapped(session: Session, link: str, key_ids: Collection[UUID]) -> dict[UUID, Any]:
        """Epoch and wrapped bytes of those of these keys that are armed."""
        found: dict[UUID, Any] = {}
        for some in _batches(key_ids):
            statement = select(KeyRow.key_id, KeyRow.epoch, KeyRow.wrapped).where(
                KeyRow.link == link, KeyRow.key_id.in_(some), KeyRow.state == KeyState.ARMED
            )
            found |= {row.key_id: row for row in session.execute(statement)}
        return found

    @staticmethod
    def _uses(session: Session, link: str, key_ids: Collection[UUID]) -> list[KeyUse]:
        uses: list[KeyUse] = []
        for some in _batches(key_ids):
            statement = select(
                KeyUseRow.link,
                KeyUseRow.key_id,
                KeyUseRow.transfer_id,
                KeyUseRow.image_digest,
                KeyUseRow.destination,
            ).where(KeyUseRow.link == link, KeyUseRow.key_id.in_(some))
            uses += [KeyUse(*row) for row in session.execute(statement)]
        return uses

    @classmethod
    def _refusal_of(
        cls, records: Mapping[UUID, KeyRecord], needed: KeyState, target: KeyState
    ) -> KeyStateError:
        """About the first key that is not as needed."""
        first = next(iter(records.values()))
        other = (record for record in records.values() if record.state is not needed)
        return cls._refusal(next(other, first), target)

    @staticmethod
    def _busy(link: str) -> NoKeyAvailableError:
        return NoKeyAvailableError(
            f"Too many operations ask for keys of {link} at once.",
            next_step="Try again in a moment.",
            link=link,
        )

    def _end(self, link: str, key_id: UUID, state: KeyState, reason: str) -> None:
        def erase(session: Session) -> None:
            row = self._row(session, link, key_id)
            if row.state == state:
                return
            if not self._move(session, row, state, reason=reason):
                raise self._refusal(row, state)

        self._in_transaction(erase)

    def _move(
        self,
        session: Session,
        row: KeyRow,
        target: KeyState,
        *,
        owner: UUID | None = None,
        reason: str | None = None,
    ) -> bool:
        """Compare and set: False if the row is not (any more) in a state that allows `target`.

        A key that is free again loses its owner; otherwise `owner` is set where it is given.
        """
        before = KeyState(row.state)
        if target not in ALLOWED[before]:
            return False
        values: dict[str, Any] = {"state": target, "changed_at": self._clock.now()}
        if target is KeyState.AVAILABLE or owner is not None:
            values["owner"] = owner
        if target in ERASED:
            values |= {"wrapped": None, "vendor_key_id": None, "reason": reason}
        moved = _changed(
            session,
            update(KeyRow)
            .where(KeyRow.key_id == row.key_id, KeyRow.state == before)
            .values(**values)
            .execution_options(synchronize_session=False),
        )
        session.expire(row)
        return moved == 1

    def _row(self, session: Session, link: str, key_id: UUID) -> KeyRow:
        row = session.get(KeyRow, key_id)
        if row is None or row.link != link:
            raise UnknownKeyError(
                f"This end holds no key {key_id} of {link}.",
                next_step="Check that both ends finished their last extraction.",
                key_id=str(key_id),
            )
        return row

    @staticmethod
    def _refusal(row: KeyRow | KeyRecord, target: KeyState) -> KeyStateError:
        return KeyStateError(
            f"Key {row.key_id} of {row.link} is {row.state} and cannot become {target}.",
            next_step="Reserve a new key." if row.state in ERASED else "Read its state again.",
            key_id=str(row.key_id),
            state=row.state,
        )

    @staticmethod
    def _context(key_id: UUID, link: str, epoch: UUID) -> bytes:
        return b"qnfv key wrap v1\0" + key_id.bytes + epoch.bytes + link.encode()

    def _in_transaction(self, work: Callable[[Session], Result]) -> Result:
        """All of `work` or none of it; again where MariaDB chose it to give way to another."""
        for _ in range(_TRIES):
            try:
                with writing(self._engine) as session:
                    return work(session)
            except OperationalError as error:
                if error.orig is None or error.orig.args[:1] not in _GAVE_WAY:
                    raise
                last = error
        raise last


def _check_use(use: KeyUseRow | KeyUse, message: Message) -> None:
    if (use.transfer_id, use.image_digest, use.destination) != (
        message.transfer_id,
        message.image_digest,
        message.destination,
    ):
        raise KeyAlreadyUsedError(
            f"Key {use.key_id} of {use.link} protects another message.",
            next_step="Reserve a new key.",
            key_id=str(use.key_id),
        )


def _batches(key_ids: Collection[UUID]) -> Iterator[list[UUID]]:
    ids = list(key_ids)
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]


def _changed(session: Session, statement: Any) -> int:
    return cast("CursorResult[Any]", session.execute(statement)).rowcount
