"""The receiving end: verifies chunk by chunk, lets the image go when all of it agrees."""

from __future__ import annotations

import hashlib
import hmac
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from image_transfer.announcement import Attempt
from image_transfer.attempts import Attempts, ReceiverState
from image_transfer.connection import Connection
from image_transfer.errors import (
    ContentMalformed,
    HeaderMalformed,
    PadForged,
    QuotaExceeded,
    RecordMalformed,
    ResumeIndexForged,
    SinkFailed,
    StaleAttempt,
    TransferCancelled,
    TransferError,
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
from image_transfer.receiver import ReceiverLimits
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
        self._sink: Sink | None = None
        self._attempts = Attempts(
            max_attempts=self.limits.max_attempts,
            last_attempt=last_attempt,
            mark=lambda: self._mark,
            on_end=self._abort_sink,
        )

    @property
    def state(self) -> ReceiverState:
        return self._attempts.state

    @property
    def bytes_done(self) -> int:
        """Bytes of the content that were verified."""
        return len(self._content)

    def issue_attempt(self, timeout_s: float = 10.0) -> Attempt:
        """A new ticket at the mark; every older one is void, and a connection under way ends.

        Raises TransferBusy, TransferComplete, TransferPoisoned or AttemptsExhausted.
        """
        return self._attempts.issue(timeout_s)

    def receive(self, connection: socket.socket, opening: Opening, with_pad: WithPad) -> PadImage:
        """Receive one connection that began with `opening`; returns when the sink has the image.

        The pad is asked for only when the opening shows the valid ticket. Raises StaleAttempt or
        ResumeIndexForged (nothing changed), a StreamBroken or HeaderMalformed (ask for a ticket
        and go on), a TransferPoisoned (over: burn the pad), TransferComplete.
        """
        with self._attempts.receiving(self._shown_ticket(opening)):
            return with_pad(lambda pad: self._receive(connection, pad))

    def abandon(self, reason: TransferError | None = None) -> None:
        """Give the transfer up. A complete one stays complete."""
        self._attempts.end(
            reason or TransferCancelled("The transfer was cancelled at the receiver.")
        )

    # --- inside -----------------------------------------------------------------------------------

    def _shown_ticket(self, opening: Opening) -> Attempt:
        """The valid ticket, if the opening shows it. StaleAttempt, ResumeIndexForged."""
        ticket = self._attempts.ticket
        if (
            ticket is None
            or opening.transfer_id != self.announcement.transfer_id
            or opening.attempt != ticket.number
            or not hmac.compare_digest(opening.receiver_nonce, ticket.receiver_nonce)
        ):
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
        return ticket

    def _receive(self, connection: socket.socket, pad: bytearray) -> PadImage:
        wire = Connection(connection, self._clock, self._attempts.check_stop)
        try:
            self._receive_header(wire, pad)
            while self._mark < self.announcement.chunks:
                self._receive_record(wire, pad)
            wire.expect_end(self.limits.record_timeout_s)
            self._attempts.check_stop()
            wire.end_quietly()
            return self._release(pad)
        except (PadForged, ContentMalformed, SinkFailed) as error:
            self._attempts.end(error)
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
            self._abort_sink(error)
            raise
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise SinkFailed(
                f"The destination did not take the image: {reason}",
                next_step="Check the VIM of the data centre, then start a new transfer.",
            ) from error
        self._attempts.complete()
        self._content[:] = bytes(len(self._content))
        return PadImage(content.image_digest, content.image_id, receipt)

    def _place(self, content: Content) -> None:
        self._sink = sink = self._open_sink(
            content.image_digest, content.image_id, len(content.image)
        )
        for start in range(0, len(content.image), self.announcement.chunk_bytes):
            self._attempts.check_stop()
            sink.write(content.image[start : start + self.announcement.chunk_bytes])
        sink.finish()

    def _abort_sink(self, error: TransferError) -> None:
        if self._sink is not None:
            self._sink.abort(error)
