"""The ledger: every key of this end, its state, and the one message that it protects.

All changes are conditional updates whose row count is checked, so that two threads, two processes
or a restart can never move a key twice; the single use is the primary key of `key_use`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import CursorResult, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import reading, writing
from key_management.errors import (
    KeyAlreadyUsedError,
    KeyStateError,
    NoKeyAvailableError,
    UnknownKeyError,
)
from key_management.states import ALLOWED, ERASED, KeyState
from key_management.tables import KeyRow, KeyUseRow
from key_management.wrapping import WrappingKeys
from timekeeping import Clock

_BATCH = 500
_TRIES = 64
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


def _record(row: KeyRow) -> KeyRecord:
    return KeyRecord(row.key_id, row.link, KeyState(row.state), row.epoch, row.emulated, row.owner)


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
        self._lock = threading.Lock()
        self._being_filled: list[UUID] = []

    # --- keys come in -------------------------------------------------------------------------

    def add_pending(
        self, link: str, epoch: UUID, keys: Iterable[ExtractedKey], *, emulated: bool
    ) -> list[UUID]:
        """Store keys that the other end has still to confirm; returns the ids that entered.

        A key that was here before, under whatever id, does not enter again. The given buffers are
        wiped.
        """
        entered: list[UUID] = []
        batch = list(keys)
        with self._filling(epoch):
            for start in range(0, len(batch), _BATCH):
                entered += self._add_some(link, epoch, batch[start : start + _BATCH], emulated)
        return entered

    @contextmanager
    def _filling(self, epoch: UUID) -> Iterator[None]:
        """While its first keys are being stored, an epoch is not drained but not yet filled."""
        with self._lock:
            self._being_filled.append(epoch)
        try:
            yield
        finally:
            with self._lock:
                self._being_filled.remove(epoch)

    def _add_some(
        self, link: str, epoch: UUID, keys: list[ExtractedKey], emulated: bool
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
        raise NoKeyAvailableError(
            f"Too many operations ask for keys of {link} at once.",
            next_step="Try again in a moment.",
            link=link,
        )

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
                same = (use.transfer_id, use.image_digest, use.destination) == (
                    message.transfer_id,
                    message.image_digest,
                    message.destination,
                )
                if not same:
                    raise KeyAlreadyUsedError(
                        f"Key {key_id} of {link} protects another message.",
                        next_step="Reserve a new key.",
                        key_id=str(key_id),
                    )
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
            if (use.transfer_id, use.image_digest, use.destination) != (
                message.transfer_id,
                message.image_digest,
                message.destination,
            ):
                raise KeyAlreadyUsedError(
                    f"Key {key_id} of {link} protects another message.",
                    next_step="Reserve a new key.",
                    key_id=str(key_id),
                )
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

        def give_back(session: Session) -> None:
            for row in session.scalars(select(KeyRow).where(KeyRow.owner == owner)).all():
                if row.state == KeyState.RESERVED:
                    self._move(session, row, KeyState.AVAILABLE)
                elif row.state == KeyState.ARMED:
                    self._move(session, row, KeyState.BURNED, reason=reason)

        self._in_transaction(give_back)

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

    def counts(self, link: str) -> dict[KeyState, int]:
        """How many keys of `link` are in each state; their sum is all that ever entered."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(KeyRow.state, func.count()).where(KeyRow.link == link).group_by(KeyRow.state)
            ).all()
        found = {KeyState(state): count for state, count in rows}
        return {state: found.get(state, 0) for state in KeyState}

    def room_left(self, link: str) -> int:
        """How many further keys the capped pool of `link` takes."""
        counts = self.counts(link)
        live = sum(count for state, count in counts.items() if state not in ERASED)
        return max(0, self.capacity - live)

    # --- erasure ----------------------------------------------------------------------------

    def destroy_drained_epochs(self) -> list[UUID]:
        """Destroy the wrapping key of every turn without a living key; returns those turns.

        One process owns a store's wrapping keys, so what is being filled is known in memory.
        """
        drained: list[UUID] = []
        with self._lock:
            candidates = self._wrapping.epochs() - set(self._being_filled)
            if not candidates:
                return drained
            with reading(self._engine) as session:
                alive = set(
                    session.scalars(
                        select(KeyRow.epoch).where(KeyRow.wrapped.is_not(None)).distinct()
                    )
                )
            for epoch in candidates - alive:
                self._wrapping.destroy(epoch)
                drained.append(epoch)
        return drained

    # --- inside ---------------------------------------------------------------------------------

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
    def _refusal(row: KeyRow, target: KeyState) -> KeyStateError:
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
        with writing(self._engine) as session:
            return work(session)


def _changed(session: Session, statement: Any) -> int:
    return cast("CursorResult[Any]", session.execute(statement)).rowcount
