"""The receiving end: receive, open, digest and hand on at the same time, in constant memory.

An `ImageReceiver` lives as long as its transfer, across connections. For each connection the
caller's thread receives and opens records into a few buffers that are used again and again; a
second thread computes the digest and hands the chunks to the sink.
"""

from __future__ import annotations

import hmac
import queue
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from image_transfer.announcement import Announcement, Attempt
from image_transfer.attempts import Attempts, ReceiverState
from image_transfer.buffers import chunk_buffer
from image_transfer.connection import POLL_S, Connection
from image_transfer.errors import (
    CommitmentMismatch,
    DigestMismatch,
    QuotaExceeded,
    SinkFailed,
    TransferCancelled,
    TransferError,
)
from image_transfer.header import PREFIX_BYTES, Header, header_length
from image_transfer.keys import COMMITMENT_BYTES, AttemptKeys, KeyDerivation, ReceiptKey
from image_transfer.records import RECORD_MIN_BYTES, RecordOpener
from image_transfer.sink import Sink
from timekeeping import Clock, SystemClock

HEADER_TIMEOUT_S: Final = 10.0
_BUFFERS: Final = 4


@dataclass(frozen=True, slots=True)
class ReceiverLimits:
    """What a receiver puts up with. `quota_bytes` None means any size that the format allows."""

    quota_bytes: int | None = None
    max_attempts: int = 64
    record_timeout_s: float = 120.0
    commitment_timeout_s: float = HEADER_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class ReceiveReport:
    """What the attempt that completed the image received."""

    header: Header
    receipt_key: ReceiptKey
    plain_bytes: int
    zero_chunks: int
    duration_s: float


def read_header(
    connection: socket.socket,
    timeout_s: float = HEADER_TIMEOUT_S,
    clock: Clock | None = None,
    *,
    begun: bytes = b"",
) -> Header:
    """The header with which a new connection begins; nothing in it is verified yet.

    `begun` are its first bytes, up to 12, that were read already. Raises `HeaderMalformed`,
    `VersionRefused`, `SuiteRefused`, `ConnectionLost` or `PeerStalled` (the whole header has to be
    there within `timeout_s` seconds).
    """
    clock = clock or SystemClock()
    deadline = clock.monotonic() + timeout_s
    wire = Connection(connection, clock)
    data = bytearray(begun) + bytearray(PREFIX_BYTES - len(begun))
    wire.receive_exactly(memoryview(data)[len(begun) :], timeout_s)
    rest = bytearray(header_length(bytes(data)) - PREFIX_BYTES)
    wire.receive_exactly(memoryview(rest), deadline - clock.monotonic())
    return Header.decode(bytes(data + rest))


class ImageReceiver:
    """Receives the image of one announcement into `sink`, over as many attempts as it takes.

    `last_attempt` is the highest attempt number ever issued for this transfer, by a receiver
    that died; the numbers go on from there and the image begins at chunk 0. `progress` gets the
    bytes of the image that the sink has taken, and must not raise. Raises `QuotaExceeded`.

    All methods may be called from any thread.
    """

    def __init__(
        self,
        announcement: Announcement,
        sink: Sink,
        *,
        limits: ReceiverLimits | None = None,
        last_attempt: int = 0,
        progress: Callable[[int], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.announcement = announcement
        self.limits = limits or ReceiverLimits()
        quota = self.limits.quota_bytes
        if quota is not None and announcement.image_size > quota:
            raise QuotaExceeded(
                f"The image has {announcement.image_size} bytes, the receiver takes {quota}.",
                next_step="Deploy a smaller image or raise the data centre's quota.",
                image_bytes=announcement.image_size,
                quota_bytes=quota,
            )
        self._sink = sink
        self._clock = clock or SystemClock()
        self._progress = progress
        self._digest = blake3()
        self._mark = 0
        self._attempts = Attempts(
            max_attempts=self.limits.max_attempts,
            last_attempt=last_attempt,
            mark=lambda: self._mark,
            on_end=sink.abort,
        )

    @property
    def state(self) -> ReceiverState:
        return self._attempts.state

    @property
    def mark(self) -> int:
        """The first chunk that the sink has not taken."""
        return self._mark

    @property
    def bytes_done(self) -> int:
        """Bytes of the image that the sink has taken."""
        return self.announcement.offset(self._mark)

    def issue_attempt(self, timeout_s: float = 10.0) -> Attempt:
        """A new ticket at the mark; every older one is void from now on.

        A connection that is being received ends first, which may take up to `timeout_s` seconds
        while the sink blocks. Only for whoever speaks on the authenticated control channel.

        Raises `TransferBusy`, `TransferComplete`, `TransferPoisoned` or `AttemptsExhausted`.
        """
        return self._attempts.issue(timeout_s)

    def receive(
        self, connection: socket.socket, header: Header, keys: KeyDerivation
    ) -> ReceiveReport:
        """Receive one connection whose first bytes were `header`; returns when all is verified.

        Before the commitment is verified nothing changes; `keys` is asked only for a header that
        fits the announcement and the valid ticket. The connection stays its owner's to close.

        Raises a `HeaderRefused` (nothing changed), a `StreamBroken` (ask `issue_attempt` and go
        on at the mark), a `TransferPoisoned` (over; the sink was aborted), `TransferCancelled`,
        `TransferComplete`, and what `keys` raises.
        """
        started_s = self._clock.monotonic()
        ticket = self._attempts.ticket
        header.check(self.announcement, ticket)
        attempt_keys = keys(header)
        try:
            self._verify_commitment(connection, attempt_keys)
            with self._attempts.receiving(ticket):
                zero_chunks = self._receive_records(connection, header, attempt_keys)
        except BaseException:
            attempt_keys.destroy()
            raise
        finally:
            attempt_keys.destroy_record_keys()
        a = self.announcement
        return ReceiveReport(
            header=header,
            receipt_key=attempt_keys.receipt_key,
            plain_bytes=a.image_size - a.offset(header.attempt.start_chunk),
            zero_chunks=zero_chunks,
            duration_s=self._clock.monotonic() - started_s,
        )

    def abandon(self, reason: TransferError | None = None) -> None:
        """Give the transfer up: end what is under way and abort the sink. May be repeated.

        A complete transfer stays complete.
        """
        self._attempts.end(
            reason or TransferCancelled("The transfer was cancelled at the receiver.")
        )

    def _verify_commitment(self, connection: socket.socket, keys: AttemptKeys) -> None:
        found = bytearray(COMMITMENT_BYTES)
        wire = Connection(connection, self._clock)
        wire.receive_exactly(memoryview(found), self.limits.commitment_timeout_s)
        if not hmac.compare_digest(found, keys.commitment):
            raise CommitmentMismatch(
                "The stream was not sealed under the announced key, or its header was altered.",
                next_step="Check that both ends hold the same key under this id.",
            )

    def _receive_records(self, connection: socket.socket, header: Header, keys: AttemptKeys) -> int:
        """Receive, verify and hand on all chunks; how many were zero records."""
        wire = Connection(connection, self._clock, self._attempts.check_stop)
        opener = RecordOpener(header, keys)
        chunk_bytes = min(self.announcement.chunk_bytes, self.announcement.image_size)
        try:
            with _HandingOn(self._take, chunk_bytes, self._attempts.check_stop) as handing_on:
                last, zero_chunks = self._open_records(wire, opener, handing_on, chunk_bytes)
                handing_on.drain()
                self._release(wire, last, handing_on)
        except SinkFailed as error:
            self._attempts.end(error)
            raise
        return zero_chunks

    def _open_records(
        self, wire: Connection, opener: RecordOpener, handing_on: _HandingOn, chunk_bytes: int
    ) -> tuple[memoryview, int]:
        """Hand on all chunks but the last; that one, and how many were zero records."""
        sealed = chunk_buffer(RECORD_MIN_BYTES + chunk_bytes)
        zeros = memoryview(bytes(chunk_bytes))
        zero_chunks = 0
        while True:
            length = opener.plain_length
            record = self._receive_record(wire, opener, sealed)
            buffer = handing_on.free_buffer()
            is_zero = opener.open(record, buffer)
            zero_chunks += is_zero
            chunk = (zeros if is_zero else buffer)[:length]
            if opener.finished:
                return chunk, zero_chunks
            handing_on.put(chunk, buffer)

    def _receive_record(
        self, wire: Connection, opener: RecordOpener, into: memoryview
    ) -> memoryview:
        """The next whole record, still sealed, at the start of `into`."""
        timeout_s = self.limits.record_timeout_s
        deadline = self._clock.monotonic() + timeout_s
        wire.receive_exactly(into[:RECORD_MIN_BYTES], timeout_s)
        body_end = RECORD_MIN_BYTES + opener.body_length(into)
        wire.receive_exactly(into[RECORD_MIN_BYTES:body_end], deadline - self._clock.monotonic())
        return into[:body_end]

    def _take(self, chunk: memoryview) -> None:
        """Digest and hand on the chunk at the mark."""
        self._digest.update(chunk)
        self._sink.write(chunk)
        self._mark += 1
        if self._progress is not None:
            self._progress(self.bytes_done)

    def _release(self, wire: Connection, last: memoryview, handing_on: _HandingOn) -> None:
        """Let the last chunk go, if everything agrees."""
        # On a copy: when the stream does not end as it must, this chunk is sent again.
        digest = self._digest.copy().update(last).digest()
        if not hmac.compare_digest(digest, self.announcement.image_digest):
            error = DigestMismatch(
                "The image that arrived has another digest than the announced one.",
                next_step="Add the image to the catalogue again and deploy that one.",
            )
            self._attempts.end(error)
            raise error
        wire.expect_end(self.limits.record_timeout_s)
        self._attempts.check_stop()
        # The sender need not wait for the VIM; what it waits for is the receipt.
        wire.end_quietly()
        handing_on.call(lambda: self._take(last))
        handing_on.call(self._sink.finish)
        self._attempts.complete()


class _HandingOn:
    """A thread that takes verified chunks, in order, out of a few buffers.

    What `take` raises becomes `SinkFailed`, at the end of the `with` block at the latest.
    """

    def __init__(
        self,
        take: Callable[[memoryview], None],
        chunk_bytes: int,
        check_stop: Callable[[], None],
    ) -> None:
        self._take = take
        self._check_stop = check_stop
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[tuple[memoryview, memoryview] | None] = queue.SimpleQueue()
        for _ in range(_BUFFERS):
            self._free.put(chunk_buffer(chunk_bytes))
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="image-handing-on")

    def __enter__(self) -> _HandingOn:
        self._work = self._pool.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        # Chunks that were verified before the break are still handed on.
        self._ready.put(None)
        self._pool.shutdown()
        # Whatever broke, a sink in an unknown state weighs more: such a transfer cannot resume.
        _raise_sink_failure(self._work)

    def free_buffer(self) -> memoryview:
        while True:
            try:
                return self._free.get(timeout=POLL_S)
            except queue.Empty:
                if self._work.done():
                    _raise_sink_failure(self._work)
                self._check_stop()

    def put(self, chunk: memoryview, buffer: memoryview) -> None:
        self._ready.put((chunk, buffer))

    def drain(self) -> None:
        """Wait until every chunk so far was taken; the thread is then free for `call`."""
        self._ready.put(None)
        _raise_sink_failure(self._work)

    def call(self, act: Callable[[], None]) -> None:
        """Run `act` in the thread, after `drain`."""
        _raise_sink_failure(self._pool.submit(act))

    def _run(self) -> None:
        while (item := self._ready.get()) is not None:
            chunk, buffer = item
            self._take(chunk)
            self._free.put(buffer)


def _raise_sink_failure(work: Future[None]) -> None:
    error = work.exception()
    if error is None:
        return
    reason = str(error) or type(error).__name__
    raise SinkFailed(
        f"The destination did not take the image: {reason}",
        next_step="Check the VIM of the data centre, then start a new transfer.",
    ) from error
