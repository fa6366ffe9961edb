"""The rows under a ledger, and how they may change: compare and set, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from database import DEADLOCK, LOCK_WAIT_TIMEOUT, changed, in_batches, in_transaction
from key_management.errors import (
    KeyAlreadyUsedError,
    KeyStateError,
    NoKeyAvailableError,
    UnknownKeyError,
)
from key_management.ledger.records import (
    RECORD,
    KeyRecord,
    KeyUse,
    Message,
    record_of,
)
from key_management.states import ALLOWED, ERASED, KeyState
from key_management.tables import KeyRow, KeyUseRow
from key_management.wrapping import WrappingKeys
from timekeeping import Clock

TRIES = 64
Result = TypeVar("Result")


class LedgerRows:
    """What every part of the ledger stands on."""

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

    def _records(
        self, session: Session, link: str, key_ids: Collection[UUID]
    ) -> dict[UUID, KeyRecord]:
        """The records of these keys; UnknownKeyError if this end never held one of them."""
        found: dict[UUID, KeyRecord] = {}
        for some in in_batches(key_ids):
            statement = select(*RECORD).where(KeyRow.link == link, KeyRow.key_id.in_(some))
            for row in session.execute(statement):
                found[row.key_id] = record_of(row)
        for key_id in key_ids:
            if key_id not in found:
                self._row(session, link, key_id)
        return found

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
        total = 0
        for some in in_batches(key_ids):
            total += changed(
                session,
                update(KeyRow)
                .where(KeyRow.key_id.in_(some), KeyRow.state.in_(before))
                .values(**values)
                .execution_options(synchronize_session=False),
            )
        return total

    def _end(self, link: str, key_id: UUID, state: KeyState, reason: str) -> None:
        def erase(session: Session) -> None:
            row = self._row(session, link, key_id)
            if row.state == state:
                return
            if not self._move(session, row, state, reason=reason):
                raise self._refusal(row, state)

        self._in_transaction(erase)

    def _end_all(self, link: str, key_ids: Collection[UUID], state: KeyState, reason: str) -> None:
        def erase(session: Session) -> None:
            self._set_all(session, key_ids, state, reason=reason)
            for record in self._records(session, link, key_ids).values():
                if record.state is not state:
                    raise self._refusal(record, state)

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
        moved = changed(
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
    def _busy(link: str) -> NoKeyAvailableError:
        return NoKeyAvailableError(
            f"Too many operations ask for keys of {link} at once.",
            next_step="Try again in a moment.",
            link=link,
        )

    @staticmethod
    def _context(key_id: UUID, link: str, epoch: UUID) -> bytes:
        return b"qnfv key wrap v1\0" + key_id.bytes + epoch.bytes + link.encode()

    def _in_transaction(self, work: Callable[[Session], Result]) -> Result:
        """All of `work` or none of it; again where MariaDB chose it to give way to another."""
        return in_transaction(
            self._engine, work, tries=TRIES, gives_way_to=(DEADLOCK, LOCK_WAIT_TIMEOUT)
        )


def check_use(use: KeyUseRow | KeyUse, message: Message) -> None:
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
