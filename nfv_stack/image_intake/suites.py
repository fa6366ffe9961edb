"""How an image may come in: one driver a suite, told by its name and by a connection's first bytes.

A suite knows the keys of a transfer and how its stream is received. Everything else (the VIM, the
records, tickets, tidying) is the intake's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from image_transfer.announcement import Announcement, Attempt, KeySource, Suite
from image_transfer.attempts import ReceiverState
from image_transfer.errors import AnnouncementInvalid, SuiteRefused, TransferError
from image_transfer.header import MAGIC as SEALED_STREAM_MAGIC
from image_transfer.header import Header
from image_transfer.keys import AttemptKeys, derive_attempt_keys
from image_transfer.one_time_pad import (
    Opening,
    PadAnnouncement,
    PadReceiver,
    pad_blocks,
    pad_commitment,
    read_opening,
)
from image_transfer.one_time_pad.sealing import OPENING_MAGIC
from image_transfer.receipt import make_receipt
from image_transfer.receiver import ImageReceiver, ReceiverLimits, read_header
from key_management.errors import UnknownKeyError
from key_management.ledger import KeyLedger, KeyRecord, Message
from key_management.states import ERASED
from nfv_stack.contract.schemas import ImageAnnouncement, KeySourceClass
from nfv_stack.errors import AnnouncementConflictError, TransferStateError
from nfv_stack.image_intake.placement import PlacementSink
from nfv_stack.store.tables import TransferRow

MAGIC_BYTES: Final = 8
ONE_TIME_PAD: Final = "one-time-pad"
_SOURCES = {KeySourceClass.QUANTUM: KeySource.QUANTUM, KeySourceClass.EMULATED: KeySource.EMULATED}
OpenSink = Callable[[bytes, str, int], PlacementSink]
"""A sink for the image of this digest and size that the VIM must come to hold under this id."""


@dataclass(frozen=True)
class Arrived:
    """A verified image that the VIM has placed, and the receipt for it."""

    placed_image_id: str
    receipt: bytes


class Reception(Protocol):
    """What is in memory of a transfer under way. Thread-safe."""

    @property
    def bytes_done(self) -> int: ...

    @property
    def is_receiving(self) -> bool: ...

    @property
    def can_begin_again(self) -> bool:
        """It ended for a reason of the moment: a new reception may begin at chunk 0."""
        ...

    def issue_attempt(self) -> Attempt: ...

    def receive(self, connection: socket.socket, opening: Any) -> Arrived:
        """Receive one connection that began with `opening`, a document of this suite."""
        ...

    def abandon(self) -> None: ...

    def join(self) -> None:
        """Wait until the VIM has let go."""
        ...


class IntakeSuite(Protocol):
    """One suite's way of keys and streams. Every method can be repeated."""

    @property
    def name(self) -> str: ...

    @property
    def magic(self) -> bytes:
        """The first bytes of a connection of this suite."""
        ...

    def read_opening(
        self, connection: socket.socket, begun: bytes, timeout_s: float
    ) -> tuple[UUID, Any]:
        """Transfer id and opening of a connection that began with `begun`; nothing is verified."""
        ...

    @property
    def hides_content(self) -> bool:
        """Whether nothing that tells what the image is may be said of a transfer."""
        ...

    def check(self, announced: ImageAnnouncement) -> None:
        """Raises AnnouncementConflictError for an announcement that does not fit this suite."""
        ...

    def reserve(self, row: TransferRow) -> list[KeyRecord]:
        """Reserve the announced keys at this end, and tell what they are."""
        ...

    def arm(self, row: TransferRow) -> None: ...

    def consume(self, row: TransferRow) -> None: ...

    def burn(self, row: TransferRow, reason: str) -> None:
        """Give up the keys of a transfer that ends without its image."""
        ...

    def reception(self, row: TransferRow, open_sink: OpenSink) -> Reception: ...


class _LedgerSuite:
    """What both suites need: this end's keys, its name, and what a receiver puts up with."""

    def __init__(self, ledger: KeyLedger, destination: str, limits: ReceiverLimits) -> None:
        self._ledger = ledger
        self._destination = destination
        self._limits = limits

    def _message(self, row: TransferRow) -> Message:
        """What the keys of a transfer protect, as this end binds them."""
        return Message(row.transfer_id, row.image_digest, self._destination)


# --- sealed stream --------------------------------------------------------------------------------


class SealedStreamSuite(_LedgerSuite):
    """AES-256-GCM under one key (image_transfer/FORMAT.md)."""

    name = Suite.AES_256_GCM.label
    magic = SEALED_STREAM_MAGIC
    hides_content = False

    def read_opening(
        self, connection: socket.socket, begun: bytes, timeout_s: float
    ) -> tuple[UUID, Header]:
        header = read_header(connection, timeout_s, begun=begun)
        return header.announcement.transfer_id, header

    def check(self, announced: ImageAnnouncement) -> None:
        if announced.pad_blocks:
            raise AnnouncementConflictError(
                "A sealed stream takes one key, and no pad.",
                next_step=f"Announce the suite {ONE_TIME_PAD}, or no pad_blocks.",
            )

    def reserve(self, row: TransferRow) -> list[KeyRecord]:
        record = self._ledger.get(row.link, row.key_id)
        _check_class(row, [record])
        return [self._ledger.reserve_by_id(row.link, row.key_id, row.transfer_id)]

    def arm(self, row: TransferRow) -> None:
        self._ledger.arm(row.link, row.key_id, self._message(row))

    def consume(self, row: TransferRow) -> None:
        self._ledger.consume(row.link, row.key_id)

    def burn(self, row: TransferRow, reason: str) -> None:
        try:
            record = self._ledger.get(row.link, row.key_id)
        except UnknownKeyError:
            return
        if record.owner == row.transfer_id and record.state not in ERASED:
            self._ledger.burn(row.link, row.key_id, reason)

    def reception(self, row: TransferRow, open_sink: OpenSink) -> Reception:
        announcement = Announcement(
            transfer_id=row.transfer_id,
            image_digest=row.image_digest,
            image_size=row.image_size,
            key_id=row.key_id,
            key_source=_SOURCES[KeySourceClass(row.key_source)],
            sender=row.sender,
            destination=self._destination,
            chunk_log2=row.chunk_log2,
        )
        sink = open_sink(row.image_digest, row.vim_image_id, row.image_size)
        receiver = ImageReceiver(announcement, sink, limits=self._limits, last_attempt=row.attempts)

        def keys(verified: Header) -> AttemptKeys:
            return self._ledger.with_armed_key(
                row.link,
                row.key_id,
                self._message(row),
                lambda key: derive_attempt_keys(key, verified),
            )

        return _SealedReception(receiver, sink, keys)


@dataclass(frozen=True)
class _SealedReception:
    receiver: ImageReceiver
    sink: PlacementSink
    keys: Callable[[Header], AttemptKeys]

    @property
    def bytes_done(self) -> int:
        return self.receiver.bytes_done

    @property
    def is_receiving(self) -> bool:
        return self.receiver.state is ReceiverState.RECEIVING

    @property
    def can_begin_again(self) -> bool:
        return self.sink.can_begin_again

    def issue_attempt(self) -> Attempt:
        return self.receiver.issue_attempt()

    def receive(self, connection: socket.socket, opening: Any) -> Arrived:
        if not isinstance(opening, Header):
            raise _other_suite()
        report = self.receiver.receive(connection, opening, self.keys)
        try:
            placed_image_id = _placed(self.sink)
            receipt = make_receipt(report.receipt_key, report.header, placed_image_id)
            return Arrived(placed_image_id, receipt.encode())
        finally:
            report.receipt_key.destroy()

    def abandon(self) -> None:
        self.receiver.abandon()

    def join(self) -> None:
        self.sink.join()


# --- one-time pad ---------------------------------------------------------------------------------


class OneTimePadSuite(_LedgerSuite):
    """A one-time pad of many keys (image_transfer/one_time_pad/FORMAT.md).

    The announcement names the pad in place of the image: what it is comes under the pad.
    """

    name = ONE_TIME_PAD
    magic = OPENING_MAGIC
    hides_content = True

    def read_opening(
        self, connection: socket.socket, begun: bytes, timeout_s: float
    ) -> tuple[UUID, Opening]:
        opening = read_opening(connection, begun, timeout_s)
        return opening.transfer_id, opening

    def check(self, announced: ImageAnnouncement) -> None:
        blocks = announced.pad_blocks
        if sorted(set(blocks)) != blocks or not blocks or blocks[0] != announced.key_id:
            raise AnnouncementConflictError(
                "A one-time pad names its blocks once each, in the order of their ids; its first "
                "one is key_id.",
                next_step="Announce the pad_blocks that the key store reserved.",
            )
        if announced.image_digest != pad_commitment(blocks).hex() or announced.vim_image_id:
            raise AnnouncementConflictError(
                "With a one-time pad, digest and id of the image travel under the pad.",
                next_step="Announce the pad's commitment as image_digest and no vim_image_id.",
            )
        try:
            needed = pad_blocks(announced.image_size, announced.chunk_log2)
        except AnnouncementInvalid as error:
            raise AnnouncementConflictError(error.detail, next_step=error.next_step) from error
        if len(blocks) != needed:
            raise AnnouncementConflictError(
                f"{announced.image_size} bytes take a pad of {needed} blocks, not {len(blocks)}.",
                next_step="Announce a pad of that length; it is never stretched or cut.",
            )

    def reserve(self, row: TransferRow) -> list[KeyRecord]:
        records = self._ledger.reserve_by_ids(row.link, row.blocks, row.transfer_id)
        _check_class(row, records)
        return records

    def arm(self, row: TransferRow) -> None:
        self._ledger.arm_all(row.link, row.blocks, self._message(row))

    def consume(self, row: TransferRow) -> None:
        self._ledger.consume_all(row.link, row.blocks)

    def burn(self, row: TransferRow, reason: str) -> None:
        held = self._ledger.held_by_all(row.link, row.transfer_id)
        if held:
            self._ledger.burn_all(row.link, [record.key_id for record in held], reason)

    def reception(self, row: TransferRow, open_sink: OpenSink) -> Reception:
        announcement = PadAnnouncement(
            transfer_id=row.transfer_id,
            content_size=row.image_size,
            block_count=len(row.blocks),
            commitment=row.image_digest,
            key_source=_SOURCES[KeySourceClass(row.key_source)],
            sender=row.sender,
            destination=self._destination,
            chunk_log2=row.chunk_log2,
        )
        return _PadReception(self, row, announcement, open_sink, self._limits)

    def with_pad(self, row: TransferRow, use: Callable[[bytearray], Any]) -> Any:
        return self._ledger.with_armed_keys(row.link, row.blocks, self._message(row), use)


class _PadReception:
    def __init__(
        self,
        suite: OneTimePadSuite,
        row: TransferRow,
        announcement: PadAnnouncement,
        open_sink: OpenSink,
        limits: ReceiverLimits,
    ) -> None:
        self._suite = suite
        self._row = row
        self._open_sink = open_sink
        self._sink: PlacementSink | None = None
        self._receiver = PadReceiver(
            announcement, self._sink_of, limits=limits, last_attempt=row.attempts
        )

    @property
    def bytes_done(self) -> int:
        return self._receiver.bytes_done

    @property
    def is_receiving(self) -> bool:
        return self._receiver.state is ReceiverState.RECEIVING

    @property
    def can_begin_again(self) -> bool:
        return self._sink is not None and self._sink.can_begin_again

    def issue_attempt(self) -> Attempt:
        return self._receiver.issue_attempt()

    def receive(self, connection: socket.socket, opening: Any) -> Arrived:
        if not isinstance(opening, Opening):
            raise _other_suite()
        arrived = self._receiver.receive(
            connection, opening, lambda use: self._suite.with_pad(self._row, use)
        )
        assert self._sink is not None
        return Arrived(_placed(self._sink), arrived.receipt.encode())

    def abandon(self) -> None:
        self._receiver.abandon()

    def join(self) -> None:
        if self._sink is not None:
            self._sink.join()

    def _sink_of(self, digest: bytes, image_id: str, size: int) -> PlacementSink:
        self.join()  # an earlier placement that was given up has let go of the VIM
        self._sink = self._open_sink(digest, image_id, size)
        return self._sink


def _check_class(row: TransferRow, records: list[KeyRecord]) -> None:
    expected = row.key_source == KeySourceClass.EMULATED
    if any(record.emulated for record in records) != expected:
        raise AnnouncementConflictError(
            f"The keys of transfer {row.transfer_id} are not from a source of class "
            f"{row.key_source}.",
            next_step="Announce the class that the key store tells.",
        )


def _placed(sink: PlacementSink) -> str:
    if sink.placed_image_id is None:
        raise TransferStateError(
            "The transfer ended without an image id of the VIM.",
            next_step="Read the transfer, and start a new operation if it is over.",
        )
    return sink.placed_image_id


def _other_suite() -> TransferError:
    return SuiteRefused(
        "The stream is of another suite than the announced one.",
        next_step="Send what was announced.",
    )
