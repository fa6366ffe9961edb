"""The journal of deliveries: batches, keys, their blocks, who may have them and who has.

Like the ledger, it moves rows only by conditional updates whose row count is checked: a key is
delivered once to each SAE in each role, whoever asks at once, and after a restart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import changed, in_batches, in_transaction, reading
from key_management.kme.errors import BatchEndedError, KeysNotFoundError, NotNamedError
from key_management.kme.high_water import HighWaterMark
from key_management.kme.tables import (
    BatchRow,
    BatchState,
    BlockRow,
    DeliveryRow,
    DeliveryState,
    Receiver,
    ReceiverRow,
    SequenceRow,
)
from timekeeping import Clock


@dataclass(frozen=True)
class Composition:
    """One delivered key: its outward id, and the blocks that make it, in their order."""

    key_id: UUID
    blocks: tuple[UUID, ...]


@dataclass(frozen=True)
class Allocation:
    """What both ends of a link set aside for one request."""

    batch_id: UUID
    link: str
    master_sae: str
    slave_saes: tuple[str, ...]
    size_bit: int
    keys: tuple[Composition, ...]
    emulated: bool

    @property
    def blocks(self) -> list[UUID]:
        return [block for key in self.keys for block in key.blocks]

    @property
    def digest(self) -> bytes:
        """SHA-256 over all that both ends must understand alike."""
        together = hashlib.sha256(b"qnfv kme allocation v1\0")
        for part in (
            str(self.batch_id),
            self.link,
            self.master_sae,
            ",".join(self.slave_saes),
            str(self.size_bit),
        ):
            together.update(part.encode() + b"\0")
        for key in self.keys:
            together.update(key.key_id.bytes + len(key.blocks).to_bytes(4, "big"))
            for block in key.blocks:
                together.update(block.bytes)
        return together.digest()


@dataclass(frozen=True)
class Batch:
    """A batch as the journal has it."""

    batch_id: UUID
    link: str
    state: BatchState
    master_sae: str
    slave_sae: str
    size_bit: int
    emulated: bool
    digest: bytes | None
    peer_told: bool


@dataclass(frozen=True)
class Delivery:
    """A key on its way to one SAE: where its bytes come from, and whether that was the last one."""

    key_id: UUID
    batch: Batch
    blocks: tuple[UUID, ...]
    last: bool


class Deliveries:
    """One KME's journal. Thread-safe; every method is one transaction.

    With a `mark`, a database that was restored from an old backup is noticed.
    """

    def __init__(self, engine: Engine, clock: Clock, mark: HighWaterMark | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._mark = mark

    # --- allocation -------------------------------------------------------------------------------

    def open(
        self, batch_id: UUID, link: str, master: str, slave: str, *, size_bit: int, count: int
    ) -> None:
        """Note that a request has begun, before any block is touched for it. Repeatable.

        Raises BatchEndedError if it was given up before.
        """
        now = self._clock.now()
        row = {
            "batch_id": batch_id,
            "link": link,
            "state": BatchState.OPEN.value,
            "master_sae": master,
            "slave_sae": slave,
            "size_bit": size_bit,
            "key_count": count,
            "emulated": False,
            "peer_told": False,
            "created_at": now,
            "changed_at": now,
        }

        def note(session: Session) -> None:
            session.execute(insert(BatchRow), [row])

        try:
            in_transaction(self._engine, note)
        except IntegrityError:
            known = self.batch(batch_id)
            if known is None or known.state is BatchState.GIVEN_UP:
                raise self._ended(batch_id) from None

    def compose(self, allocation: Allocation, receivers: Sequence[tuple[Receiver, str]]) -> None:
        """Note which blocks make which key, and who of this end may have it."""
        now = self._clock.now()
        keys = [
            {
                "key_id": key.key_id,
                "batch_id": allocation.batch_id,
                "state": DeliveryState.WAITING.value,
                "erased": False,
                "changed_at": now,
            }
            for key in allocation.keys
        ]
        blocks = [
            {
                "link": allocation.link,
                "block_id": block,
                "key_id": key.key_id,
                "position": position,
            }
            for key in allocation.keys
            for position, block in enumerate(key.blocks)
        ]
        named = [
            {"key_id": key.key_id, "role": role.value, "sae": sae}
            for key in allocation.keys
            for role, sae in receivers
        ]

        def note(session: Session) -> None:
            opened = changed(
                session,
                update(BatchRow)
                .where(
                    BatchRow.batch_id == allocation.batch_id,
                    BatchRow.state == BatchState.OPEN.value,
                    BatchRow.digest.is_(None),
                )
                .values(digest=allocation.digest, emulated=allocation.emulated, changed_at=now),
            )
            if opened != 1:
                raise self._ended(allocation.batch_id)
            session.execute(insert(DeliveryRow), keys)
            session.execute(insert(BlockRow), blocks)
            session.execute(insert(ReceiverRow), named)

        in_transaction(self._engine, note)

    def agree(self, batch_id: UUID) -> None:
        """Both ends set the blocks aside: the keys may be delivered from now on."""

        def note(session: Session) -> None:
            agreed = changed(
                session,
                update(BatchRow)
                .where(BatchRow.batch_id == batch_id, BatchRow.state == BatchState.OPEN.value)
                .values(
                    state=BatchState.AGREED.value, peer_told=True, changed_at=self._clock.now()
                ),
            )
            if agreed != 1:
                raise self._ended(batch_id)

        in_transaction(self._engine, note)

    def give_up(self, batch_id: UUID, link: str, reason: str, *, peer_told: bool) -> None:
        """End a batch; what of its keys is not delivered never will be. Repeatable.

        An unknown batch leaves a tombstone, so that a late allocation finds it closed.
        """
        now = self._clock.now()
        values = {
            "state": BatchState.GIVEN_UP.value,
            "peer_told": peer_told,
            "reason": reason[:255],
            "changed_at": now,
        }

        def end(session: Session) -> None:
            change = update(BatchRow).where(BatchRow.batch_id == batch_id).values(**values)
            if not changed(session, change):
                session.execute(
                    insert(BatchRow),
                    [
                        {
                            "batch_id": batch_id,
                            "link": link,
                            "master_sae": "",
                            "slave_sae": "",
                            "size_bit": 0,
                            "key_count": 0,
                            "emulated": False,
                            "created_at": now,
                            **values,
                        }
                    ],
                )
            session.execute(
                update(DeliveryRow)
                .where(
                    DeliveryRow.batch_id == batch_id,
                    DeliveryRow.state == DeliveryState.WAITING.value,
                )
                .values(state=DeliveryState.GIVEN_UP.value, changed_at=now)
            )

        in_transaction(self._engine, end)

    def told(self, batch_id: UUID) -> None:
        """The other end knows that this batch was given up."""

        def note(session: Session) -> None:
            session.execute(
                update(BatchRow).where(BatchRow.batch_id == batch_id).values(peer_told=True)
            )

        in_transaction(self._engine, note)

    # --- delivery ---------------------------------------------------------------------------------

    def take(
        self, key_ids: Sequence[UUID], *, role: Receiver, sae: str, master: str
    ) -> list[Delivery]:
        """Mark these keys as delivered to `sae` in this role, all or none; in the given order.

        Raises NotNamedError if one of them was made for others, KeysNotFoundError if one is
        unknown, over, or was delivered to it before.
        """

        def take(session: Session) -> tuple[list[Delivery], int]:
            keys, batches, receivers = self._look_up(session, key_ids)
            for key_id in key_ids:
                named = receivers.get(key_id)
                if named is not None and (role.value, sae) not in named:
                    raise self._not_named(sae)
            for key_id in key_ids:
                key = keys.get(key_id)
                batch = batches.get(key.batch_id) if key is not None else None
                if (
                    key is None
                    or batch is None
                    or batch.state != BatchState.AGREED
                    or key.state != DeliveryState.WAITING
                    or batch.master_sae != master
                ):
                    raise self._not_found()
            now = self._clock.now()
            marked = 0
            for some in in_batches(key_ids):
                marked += changed(
                    session,
                    update(ReceiverRow)
                    .where(
                        ReceiverRow.key_id.in_(some),
                        ReceiverRow.role == role.value,
                        ReceiverRow.sae == sae,
                        ReceiverRow.delivered_at.is_(None),
                    )
                    .values(delivered_at=now),
                )
            if marked != len(key_ids):
                raise self._not_found()
            done = self._complete(session, key_ids, now)
            blocks = self._blocks(session, key_ids)
            taken = [
                Delivery(
                    key_id,
                    _batch(batches[keys[key_id].batch_id]),
                    tuple(blocks[key_id]),
                    key_id in done,
                )
                for key_id in key_ids
            ]
            session.execute(update(SequenceRow).values(deliveries=SequenceRow.deliveries + 1))
            return taken, session.scalars(select(SequenceRow.deliveries)).one()

        taken, sequence = in_transaction(self._engine, take)
        if self._mark is not None:
            self._mark.raise_to(sequence)
        return taken

    def erased(self, key_ids: Collection[UUID]) -> None:
        """The ledger erased the blocks of these keys."""

        def note(session: Session) -> None:
            for some in in_batches(key_ids):
                session.execute(
                    update(DeliveryRow).where(DeliveryRow.key_id.in_(some)).values(erased=True)
                )

        in_transaction(self._engine, note)

    def went_back(self) -> int:
        """How many deliveries the database has forgotten: above 0, it is an old backup.

        It is asked once, before anything is delivered; the count goes on from the mark.
        """
        if self._mark is None:
            return 0
        known = self._mark.value

        def catch_up(session: Session) -> int:
            remembered = session.scalars(select(SequenceRow.deliveries)).one()
            if remembered < known:
                session.execute(update(SequenceRow).values(deliveries=known))
            return max(0, known - remembered)

        return in_transaction(self._engine, catch_up)

    # --- what is left over ------------------------------------------------------------------------

    def expire(self, created_before: datetime) -> int:
        """End keys that not every SAE fetched in time; returns how many."""

        def end(session: Session) -> int:
            old = select(BatchRow.batch_id).where(
                BatchRow.state == BatchState.AGREED.value, BatchRow.created_at < created_before
            )
            ids = list(
                session.scalars(
                    select(DeliveryRow.key_id).where(
                        DeliveryRow.state == DeliveryState.WAITING.value,
                        DeliveryRow.batch_id.in_(old),
                    )
                )
            )
            ended = 0
            for some in in_batches(ids):
                ended += changed(
                    session,
                    update(DeliveryRow)
                    .where(
                        DeliveryRow.key_id.in_(some),
                        DeliveryRow.state == DeliveryState.WAITING.value,
                    )
                    .values(state=DeliveryState.EXPIRED.value, changed_at=self._clock.now()),
                )
            return ended

        return in_transaction(self._engine, end)

    def not_erased(self) -> list[tuple[Delivery, DeliveryState]]:
        """Keys that are over while the ledger may still hold their blocks."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(DeliveryRow, BatchRow)
                .join(BatchRow, BatchRow.batch_id == DeliveryRow.batch_id)
                .where(
                    DeliveryRow.erased.is_(False),
                    DeliveryRow.state != DeliveryState.WAITING.value,
                )
            ).all()
            blocks = self._blocks(session, [key.key_id for key, _ in rows])
            return [
                (
                    Delivery(key.key_id, _batch(batch), tuple(blocks[key.key_id]), True),
                    DeliveryState(key.state),
                )
                for key, batch in rows
            ]

    def unsettled(self, open_before: datetime) -> list[Batch]:
        """Batches that were left open, and those whose end the other KME does not know yet."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(BatchRow).where(
                    (BatchRow.state == BatchState.OPEN.value) & (BatchRow.created_at < open_before)
                    | (BatchRow.state == BatchState.GIVEN_UP.value) & BatchRow.peer_told.is_(False)
                )
            ).all()
            return [_batch(row) for row in rows]

    def batch(self, batch_id: UUID) -> Batch | None:
        with reading(self._engine) as session:
            row = session.get(BatchRow, batch_id)
            return None if row is None else _batch(row)

    def blocks_of(self, batch_id: UUID, state: DeliveryState | None = None) -> list[UUID]:
        """The blocks of a batch's keys, of all or of those in one state."""
        statement = (
            select(BlockRow.block_id)
            .join(DeliveryRow, DeliveryRow.key_id == BlockRow.key_id)
            .where(DeliveryRow.batch_id == batch_id)
            .order_by(BlockRow.block_id)
        )
        if state is not None:
            statement = statement.where(DeliveryRow.state == state.value)
        with reading(self._engine) as session:
            return list(session.scalars(statement))

    def asked_since(self, master: str, slave: str, since: datetime) -> int:
        """How many keys this pair asked for since then and was not refused."""
        with reading(self._engine) as session:
            return int(
                session.scalar(
                    select(func.coalesce(func.sum(BatchRow.key_count), 0)).where(
                        BatchRow.master_sae == master,
                        BatchRow.slave_sae == slave,
                        BatchRow.created_at >= since,
                        BatchRow.state != BatchState.GIVEN_UP.value,
                    )
                )
                or 0
            )

    def counts(self) -> dict[DeliveryState, int]:
        """How many keys are in each state; none is ever removed."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(DeliveryRow.state, func.count()).group_by(DeliveryRow.state)
            ).all()
        found = {DeliveryState(state): count for state, count in rows}
        return {state: found.get(state, 0) for state in DeliveryState}

    # --- inside -----------------------------------------------------------------------------------

    @staticmethod
    def _look_up(
        session: Session, key_ids: Sequence[UUID]
    ) -> tuple[dict[UUID, DeliveryRow], dict[UUID, BatchRow], dict[UUID, set[tuple[str, str]]]]:
        keys: dict[UUID, DeliveryRow] = {}
        receivers: dict[UUID, set[tuple[str, str]]] = {}
        for some in in_batches(key_ids):
            locked = select(DeliveryRow).where(DeliveryRow.key_id.in_(some)).with_for_update()
            for row in session.scalars(locked.order_by(DeliveryRow.key_id)):
                keys[row.key_id] = row
            named = select(ReceiverRow.key_id, ReceiverRow.role, ReceiverRow.sae).where(
                ReceiverRow.key_id.in_(some)
            )
            for key_id, role, sae in session.execute(named):
                receivers.setdefault(key_id, set()).add((role, sae))
        batch_ids = {row.batch_id for row in keys.values()}
        batches: dict[UUID, BatchRow] = {}
        for some in in_batches(batch_ids):
            for batch in session.scalars(select(BatchRow).where(BatchRow.batch_id.in_(some))):
                batches[batch.batch_id] = batch
        return keys, batches, receivers

    @staticmethod
    def _complete(session: Session, key_ids: Sequence[UUID], now: datetime) -> set[UUID]:
        """End the keys that everybody has; returns those."""
        done: set[UUID] = set(key_ids)
        for some in in_batches(key_ids):
            done -= set(
                session.scalars(
                    select(ReceiverRow.key_id).where(
                        ReceiverRow.key_id.in_(some), ReceiverRow.delivered_at.is_(None)
                    )
                )
            )
        for some in in_batches(done):
            session.execute(
                update(DeliveryRow)
                .where(DeliveryRow.key_id.in_(some))
                .values(state=DeliveryState.DELIVERED.value, changed_at=now)
                .execution_options(synchronize_session=False)
            )
        return done

    @staticmethod
    def _blocks(session: Session, key_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
        blocks: dict[UUID, list[UUID]] = {}
        for some in in_batches(key_ids):
            rows = session.execute(
                select(BlockRow.key_id, BlockRow.block_id)
                .where(BlockRow.key_id.in_(some))
                .order_by(BlockRow.key_id, BlockRow.position)
            )
            for key_id, block in rows:
                blocks.setdefault(key_id, []).append(block)
        return blocks

    @staticmethod
    def _ended(batch_id: UUID) -> BatchEndedError:
        return BatchEndedError(
            f"Allocation {batch_id} is over.",
            next_step="Ask for keys again; that is a new allocation.",
        )

    @staticmethod
    def _not_named(sae: str) -> NotNamedError:
        return NotNamedError(
            f"SAE {sae} was not named when one of these keys was made.",
            next_step="Ask for the ids that the other SAE sent to this one.",
        )

    @staticmethod
    def _not_found() -> KeysNotFoundError:
        return KeysNotFoundError(
            "One or more of these keys are unknown here, or were delivered, or are over.",
            next_step="A key is delivered once; let the master SAE ask for new keys.",
        )


def _batch(row: BatchRow) -> Batch:
    return Batch(
        row.batch_id,
        row.link,
        BatchState(row.state),
        row.master_sae,
        row.slave_sae,
        row.size_bit,
        row.emulated,
        row.digest,
        row.peer_told,
    )
