"""The receiving end: verifies chunk by chunk, lets the image go when all of it agrees."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from image_transfer.announcement import NONCE_BYTES, Attempt
from image_transfer.connection import Connection
from image_transfer.errors import (
    AttemptsExhausted,
    ContentMalformed,
    HeaderMalformed,
    PadForged,
    QuotaExceeded,
    RecordMalformed,
    ResumeIndexForged,
    SinkFailed,
    StaleAttempt,
    Superseded,
    TransferBusy,
    TransferCancelled,
    TransferComplete,
    TransferError,
    TransferPoisoned,
)
from image_transfer.one_time_pad.layout import TAG_BYTES, PadAnnouncement
from image_transfer.one_time_pad.receipt import PadReceipt, make_pad_receipt
from image_transfer.one_time_pad.sealing import (
    OPENING_BYTES,
    RECORD_LENGTH_BYTES,
    Content,
    Opening,
    check_header,
    encode_header,
    open_content,
    open_record,
)
from image_transfer.receiver import ReceiverLimits, ReceiverState
from image_transfer.sink import Sink
from timekeeping import Clock, SystemClock

OPENING_TIMEOUT_S: Final = 10.0
Result = TypeVar("Result")


class WithPad(Protocol):
    """Calls `use` with the pad, all blocks joined, and wipes it afterwards."""

    def __call__(self, use: Callable[[bytearray], Result], /) -> Result: ...


@dataclass(frozen=True)
class PadImage:
    """What arrived, once all of it agreed. The digest and the id came under the pad."""

    image_digest: bytes
    image_id: str
    receipt: PadReceipt


def read_opening(
    connection: socket.socket,
    begun: bytes = b"",
    timeout_s: float = OPENING_TIMEOUT_S,
    clock: Clock | None = None,
) -> Opening:
    """The opening of a connection of which the bytes `begun` were read already.

    Raises HeaderMalformed, ConnectionLost or PeerStalled.
    """
    rest = bytearray(OPENING_BYTES - len(begun))
    Connection(connection, clock or SystemClock()).receive_exactly(memoryview(rest), timeout_s)
    return Opening.decode(begun + bytes(rest))


class PadReceiver:
    """Receives one message over as many connections as it takes. All methods are thread-safe.

    `open_sink` is asked for the sink of the verified image: (digest, id, size).
    """

    def __init__(
        self,
        announcement: PadAnnouncement,
        open_sink: Callable[[bytes, str, int], Sink],
        *,
        limits: ReceiverLimits | None = None,
        last_attempt: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.announcement = announcement
        self.limits = limits or ReceiverLimits()
        quota = self.limits.quota_bytes
        if quota is not None and announcement.content_size > quota:
            raise QuotaExceeded(
                f"The message has {announcement.content_size} bytes, the receiver takes {quota}.",
                next_step="Deploy a smaller image or raise the data centre's quota.",
            )
        self._open_sink = open_sink
        self._clock = clock or SystemClock()
        self._content = bytearray()
        self._digest = hashlib.sha256()
        self._mark = 0
        self._header_verified = False
        self._last_attempt = last_attempt
        self._ticket: Attempt | None = None
        self._sink: Sink | None = None
        self._state = ReceiverState.WAITING
        self._stop: TransferError | None = None
        self._poison: TransferError | None = None
        self._changed = threading.Condition()

    @property
    def state(self) -> ReceiverState:
        return self._state

    @property
    def bytes_done(self) -> int:
        """Bytes of the content that were verified."""
        return len(self._content)

    def issue_attempt(self, timeout_s: float = 10.0) -> Attempt:
        """A new ticket at the mark; every older one is void, and a connection under way ends.

        Raises TransferBusy, TransferComplete, TransferPoisoned or AttemptsExhausted.
        """
        with self._changed:
            self._ticket = None
            if self._state is ReceiverState.RECEIVING:
                self._stop = self._stop or Superseded(
                    "A new attempt was asked for while this one was under way."
                )
                idle = self._changed.wait_for(
                    lambda: self._state is not ReceiverState.RECEIVING, timeout_s
                )
                if not idle:
                    raise TransferBusy(
                        "The attempt under way could not be ended in time.",
                        next_step="Ask again in a while.",
                    )
            self._refuse_when_over()
            if self._last_attempt < self.limits.max_attempts:
                self._last_attempt += 1
                nonce = secrets.token_bytes(NONCE_BYTES)
                self._ticket = Attempt(self._last_attempt, self._mark, nonce)
                return self._ticket
        error = AttemptsExhausted(
            f"All {self.limits.max_attempts} attempts of the transfer are used up.",
            next_step="Check the path between the ends, then start a new transfer.",
        )
        self._poison_with(error)
        raise error

    def receive(self, connection: socket.socket, opening: Opening, with_pad: WithPad) -> PadImage:
        """Receive one connection that began with `opening`; returns when the sink has the image.

        The pad is asked for only when the opening shows the valid ticket. Raises StaleAttempt or
        ResumeIndexForged (nothing changed), a StreamBroken or HeaderMalformed (ask for a ticket
        and go on), a TransferPoisoned (over: burn the pad), TransferComplete.
        """
        self._begin(opening)
        try:
            return with_pad(lambda pad: self._receive(connection, pad))
        finally:
            with self._changed:
                if self._state is ReceiverState.RECEIVING:
                    self._state = ReceiverState.WAITING
                self._changed.notify_all()

    def abandon(self, reason: TransferError | None = None) -> None:
        """Give the transfer up. A complete one stays complete."""
        self._poison_with(
            reason or TransferCancelled("The transfer was cancelled at the receiver.")
        )

    # --- inside -----------------------------------------------------------------------------------

    def _begin(self, opening: Opening) -> None:
        with self._changed:
            self._refuse_when_over()
            ticket = self._ticket
            valid = (
                ticket is not None
                and opening.transfer_id == self.announcement.transfer_id
                and opening.attempt == ticket.number
                and hmac.compare_digest(opening.receiver_nonce, ticket.receiver_nonce)
            )
            if not valid or ticket is None:
                raise StaleAttempt(
                    "The connection shows no valid ticket.",
                    next_step="Ask the receiver for a new ticket.",
                )
            if opening.start_chunk != ticket.start_chunk:
                raise ResumeIndexForged(
                    f"The stream begins at chunk {opening.start_chunk}, "
                    f"the receiver stands at {ticket.start_chunk}.",
                    next_step="Begin where the ticket says.",
                )
            self._ticket = None
            self._stop = None
            self._state = ReceiverState.RECEIVING

    def _receive(self, connection: socket.socket, pad: bytearray) -> PadImage:
        wire = Connection(connection, self._clock, self._check_stop)
        try:
            self._receive_header(wire, pad)
            while self._mark < self.announcement.chunks:
                self._receive_record(wire, pad)
            wire.expect_end(self.limits.record_timeout_s)
            self._check_stop()
            wire.end_quietly()
            return self._release(pad)
        except (PadForged, ContentMalformed, SinkFailed) as error:
            self._poison_with(error)
            raise

    def _receive_header(self, wire: Connection, pad: bytearray) -> None:
        expected = encode_header(self.announcement)
        data = bytearray(len(expected) + TAG_BYTES)
        wire.receive_exactly(memoryview(data), self.limits.commitment_timeout_s)
        header, tag = bytes(data[: len(expected)]), bytes(data[len(expected) :])
        if self._header_verified:
            if header != expected:  # its MAC key has served
                raise HeaderMalformed(
                    "The header is not the one of the first attempt.",
                    next_step="Send the sealed file as it is.",
                )
            return
        check_header(self.announcement, header, tag, pad)
        self._header_verified = True
        self._digest.update(data)

    def _receive_record(self, wire: Connection, pad: bytearray) -> None:
        index, timeout_s = self._mark, self.limits.record_timeout_s
        expected = self.announcement.plain_length(index)
        record = bytearray(RECORD_LENGTH_BYTES + expected + TAG_BYTES)
        view = memoryview(record)
        deadline_s = self._clock.monotonic() + timeout_s
        wire.receive_exactly(view[:RECORD_LENGTH_BYTES], timeout_s)
        if int.from_bytes(view[:RECORD_LENGTH_BYTES], "big") != expected:
            raise RecordMalformed(
                f"Record {index} has not the length of its chunk.",
                next_step="Send the sealed file as it is.",
            )
        wire.receive_exactly(view[RECORD_LENGTH_BYTES:], deadline_s - self._clock.monotonic())
        self._content += open_record(
            self.announcement,
            index,
            bytes(view[RECORD_LENGTH_BYTES:-TAG_BYTES]),
            bytes(view[-TAG_BYTES:]),
            pad,
        )
        self._digest.update(record)
        self._mark += 1

    def _release(self, pad: bytearray) -> PadImage:
        """Everything agrees: let the sink have the image."""
        content = open_content(self._content)
        receipt = make_pad_receipt(
            pad[self.announcement.receipt_key],
            self.announcement.transfer_id,
            self.announcement.content_size,
            self._digest.digest(),
        )
        try:
            self._place(content)
        except TransferError as error:
            if self._sink is not None:
                self._sink.abort(error)
            raise
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise SinkFailed(
                f"The destination did not take the image: {reason}",
                next_step="Check the VIM of the data centre, then start a new transfer.",
            ) from error
        with self._changed:
            if self._poison is not None:
                raise self._poison
            self._state = ReceiverState.COMPLETE
            self._changed.notify_all()
        self._content[:] = bytes(len(self._content))
        return PadImage(content.image_digest, content.image_id, receipt)

    def _place(self, content: Content) -> None:
        self._sink = sink = self._open_sink(
            content.image_digest, content.image_id, len(content.image)
        )
        for start in range(0, len(content.image), self.announcement.chunk_bytes):
            self._check_stop()
            sink.write(content.image[start : start + self.announcement.chunk_bytes])
        sink.finish()

    def _check_stop(self) -> None:
        if self._stop is not None:
            raise self._stop

    def _refuse_when_over(self) -> None:
        if self._state is ReceiverState.COMPLETE:
            raise TransferComplete(
                "The image of this transfer is complete and verified.",
                next_step="Ask for the receipt.",
            )
        if self._poison is not None:
            raise TransferPoisoned(
                f"The transfer is over. {self._poison.detail}",
                next_step="Start a new transfer.",
                reason=self._poison.slug,
            ) from self._poison

    def _poison_with(self, error: TransferError) -> None:
        with self._changed:
            if self._poison is not None or self._state is ReceiverState.COMPLETE:
                return
            self._poison = error
            self._stop = self._stop or error
            self._ticket = None
            self._state = ReceiverState.POISONED
            self._changed.notify_all()
        if self._sink is not None:
            self._sink.abort(error)
