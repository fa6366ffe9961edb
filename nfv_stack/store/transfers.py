"""Transfers in the database. A change of state is conditional on the states it may come from."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Case, ColumnElement, Engine, case, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from database import changed, reading, writing
from nfv_stack.contract.schemas import TransferState
from nfv_stack.errors import AnnouncementConflictError, TransferStateError, UnknownTransferError
from nfv_stack.store.tables import InstanceRow, TransferRow
from timekeeping import Clock

ANNOUNCED_FIELDS = (
    "link", "key_id", "key_source", "sender", "suite", "chunk_log2",
    "image_digest", "image_size", "image_format", "vim_image_id", "pad_blocks",
)  # fmt: skip
LIVE = (TransferState.ANNOUNCED, TransferState.RECEIVING, TransferState.PLACED)


def at_least(attempts: int) -> Case[int]:
    """A value for `attempts` that never lowers it, whichever of two requests is recorded last."""
    return case((TransferRow.attempts < attempts, attempts), else_=TransferRow.attempts)


class TransferStore:
    """The transfers of one slave stack."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def add(self, row: TransferRow) -> TransferRow:
        """Store an announcement; the same one again is fine, another under its id is not."""
        row.changed_at = self._clock.now()
        announced = {name: getattr(row, name) for name in ANNOUNCED_FIELDS}
        try:
            with writing(self._engine) as session:
                session.add(row)
        except IntegrityError:
            known = self.get(row.transfer_id)
            if known.state == TransferState.CANCELLED:
                return known  # whatever comes late for it changes nothing
            if {name: getattr(known, name) for name in ANNOUNCED_FIELDS} != announced:
                raise AnnouncementConflictError(
                    f"Transfer {known.transfer_id} was announced before, with other content.",
                    next_step="Use a new transfer id for another image or key.",
                ) from None
            return known
        return self.get(row.transfer_id)

    def add_cancelled(self, transfer_id: UUID) -> None:
        """Note that a transfer was cancelled before its announcement came, if it ever does."""
        nothing = TransferRow(
            transfer_id=transfer_id,
            link="",
            key_id=UUID(int=0),
            key_source="",
            sender="",
            suite="",
            chunk_log2=0,
            image_digest=bytes(32),
            image_size=0,
            image_format="",
            vim_image_id="",
            state=TransferState.CANCELLED.value,
            attempts=0,
            image_was_present=True,
            error="It was cancelled before it was announced.",
            changed_at=self._clock.now(),
        )
        try:
            with writing(self._engine) as session:
                session.add(nothing)
        except IntegrityError:
            pass  # announced just now; the caller looks again

    def get(self, transfer_id: UUID) -> TransferRow:
        with reading(self._engine) as session:
            row = session.get(TransferRow, transfer_id)
            if row is None:
                raise UnknownTransferError(
                    f"No transfer {transfer_id} was announced here.",
                    next_step="Announce it first.",
                )
            session.expunge(row)
            return row

    def change(
        self,
        transfer_id: UUID,
        allowed: Collection[TransferState],
        **values: Any,
    ) -> TransferRow:
        """Set `values` if the transfer is in one of `allowed`; TransferStateError otherwise."""
        with writing(self._engine) as session:
            moved = changed(
                session,
                update(TransferRow)
                .where(TransferRow.transfer_id == transfer_id, TransferRow.state.in_(allowed))
                .values(changed_at=self._clock.now(), **values),
            )
        row = self.get(transfer_id)
        if moved == 0:
            raise TransferStateError(
                f"Transfer {transfer_id} is {row.state}; this needs "
                f"{' or '.join(allowed)}. {row.error or ''}".strip(),
                next_step="Read the transfer, and start a new operation if it is over.",
                state=row.state,
            )
        return row

    def brought(self, vim_image_id: str) -> bool:
        """Whether a transfer brought this image, or may have, and it was not removed since."""
        with reading(self._engine) as session:
            rows = select(func.count()).where(
                _of_image(vim_image_id), TransferRow.image_was_present.is_(False)
            )
            return bool(session.scalar(rows))

    def note_removed(self, vim_image_id: str) -> None:
        """What earlier transfers brought of this image is gone: if it is there again, somebody else
        brought it."""
        with writing(self._engine) as session:
            session.execute(
                update(TransferRow)
                .where(_of_image(vim_image_id), TransferRow.state.not_in(LIVE))
                .values(image_was_present=True)
            )

    def image_is_needed(
        self, vim_image_id: str, *, but_not_by: UUID, but_not_for: UUID | None = None
    ) -> bool:
        """Whether another transfer than `but_not_by` brings this image now, or another instance
        than `but_not_for` is recorded that runs it."""
        with reading(self._engine) as session:
            transfers = session.scalar(
                select(func.count())
                .select_from(TransferRow)
                .where(
                    _of_image(vim_image_id),
                    TransferRow.transfer_id != but_not_by,
                    TransferRow.state.in_(LIVE),
                )
            )
            users = select(func.count()).where(InstanceRow.placed_image_id == vim_image_id)
            if but_not_for is not None:
                users = users.where(InstanceRow.instance_id != but_not_for)
            instances = session.scalar(users)
        return bool(transfers) or bool(instances)


def _of_image(vim_image_id: str) -> ColumnElement[bool]:
    return or_(
        TransferRow.vim_image_id == vim_image_id, TransferRow.opened_image_id == vim_image_id
    )
