"""The sending end: read ahead, seal and send at the same time, in constant memory.

One thread reads and seals chunks into a few buffers that are used again and again, the caller's
thread sends them. Nothing sealed is ever kept or sent twice.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import stat
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from image_transfer.announcement import Announcement, Attempt
from image_transfer.buffers import chunk_buffer
from image_transfer.connection import POLL_S, Connection
from image_transfer.errors import SourceChanged, SourceUnreadable, TransferCancelled
from image_transfer.header import Header
from image_transfer.keys import AttemptKeys, KeyDerivation, ReceiptKey
from image_transfer.records import RECORD_MIN_BYTES, RecordSealer
from timekeeping import Clock, SystemClock

STALL_TIMEOUT_S: Final = 120.0
_BUFFERS: Final = 3
_PROBE: Final = bytes(64)


@dataclass(frozen=True, slots=True)
class SendReport:
    """What one attempt sent. It is no acknowledgement: only a receipt is."""

    header: Header
    receipt_key: ReceiptKey
    plain_bytes: int
    wire_bytes: int
    zero_chunks: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class _Sealed:
    buffer: memoryview
    length: int
    next_index: int
    is_zero: bool


def send_image(
    connection: socket.socket,
    source: Path | BinaryIO,
    announcement: Announcement,
    attempt: Attempt,
    keys: KeyDerivation,
    *,
    journal: Callable[[Header], None] | None = None,
    progress: Callable[[int], None] | None = None,
    cancelled: threading.Event | None = None,
    zero_records: bool = True,
    stall_timeout_s: float = STALL_TIMEOUT_S,
    clock: Clock | None = None,
) -> SendReport:
    """Send the image in `source` from the attempt's start chunk to its end.

    `source` is a regular file (a path, or an open binary file, whose position is left alone).
    `journal` gets the header before any byte leaves and must have kept it when it returns: with it
    the receipt can be checked after a restart. `progress` gets the bytes of the image that have
    left, counted from its beginning. `zero_records=False` hides which chunks are zero, at the
    price of sending them. No record may take longer than `stall_timeout_s` seconds.

    Raises `SourceUnreadable`, `SourceChanged`, `TransferCancelled`, `ConnectionLost`,
    `PeerStalled`, `TrailingBytes` (the receiver spoke), and what `keys` or `journal` raise.
    """
    clock = clock or SystemClock()
    started_s = clock.monotonic()
    cancelled = cancelled or threading.Event()
    report: Callable[[int], None] = progress or _ignore

    def check_stop() -> None:
        if cancelled.is_set():
            raise TransferCancelled("The transfer was cancelled at the sender.")

    with _open_source(source, announcement) as image:
        header = Header.draw(announcement, attempt)
        if journal is not None:
            journal(header)
        attempt_keys = keys(header)
        try:
            sealing = _Sealing(image, header, attempt_keys, zero_records)
            wire = Connection(connection, clock, check_stop)
            opening = header.encode() + attempt_keys.commitment
            wire.send_all(memoryview(opening), stall_timeout_s)
            wire_bytes, zero_chunks = len(opening), 0
            with contextlib.closing(sealing.records(check_stop)) as records:
                for record in records:
                    wire.send_all(record.buffer[: record.length], stall_timeout_s)
                    wire_bytes += record.length
                    zero_chunks += record.is_zero
                    report(announcement.offset(record.next_index))
            wire.end()
            wire.expect_end(stall_timeout_s)
        except BaseException:
            attempt_keys.destroy()
            raise
        finally:
            attempt_keys.destroy_record_keys()
    return SendReport(
        header=header,
        receipt_key=attempt_keys.receipt_key,
        plain_bytes=announcement.image_size - announcement.offset(attempt.start_chunk),
        wire_bytes=wire_bytes,
        zero_chunks=zero_chunks,
        duration_s=clock.monotonic() - started_s,
    )


class _Source:
    """An open image file that notices when it is changed under way."""

    def __init__(self, fd: int, announcement: Announcement) -> None:
        self._fd = fd
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise SourceUnreadable(
                "The image is not a regular file.", next_step="Send a file of the catalogue."
            )
        if status.st_size != announcement.image_size:
            raise _changed(f"has {status.st_size} bytes, {announcement.image_size} were announced")
        self._version = _version(status)

    def read(self, into: memoryview, offset: int) -> None:
        """Fill `into` from `offset` bytes into the image. Raises `SourceChanged` when it ends."""
        done = 0
        while done < len(into):
            try:
                count = os.preadv(self._fd, [into[done:]], offset + done)
            except OSError as error:
                raise _unreadable(error) from error
            if count == 0:
                raise _changed("became shorter")
            done += count

    def check_unchanged(self) -> None:
        if _version(os.fstat(self._fd)) != self._version:
            raise _changed("was written to")


class _Sealing:
    """Reads and seals chunks in a thread of its own, into a few buffers."""

    def __init__(
        self, image: _Source, header: Header, keys: AttemptKeys, zero_records: bool
    ) -> None:
        self._image = image
        self._announcement = header.announcement
        self._sealer = RecordSealer(header, keys)
        self._zero_records = zero_records
        # A small image needs no full chunk of memory.
        chunk_bytes = min(header.announcement.chunk_bytes, header.announcement.image_size)
        self._plain = chunk_buffer(chunk_bytes)
        self._zeros = bytes(chunk_bytes)
        self._free: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._sealed: queue.SimpleQueue[_Sealed | None] = queue.SimpleQueue()
        for _ in range(_BUFFERS):
            self._free.put(chunk_buffer(RECORD_MIN_BYTES + chunk_bytes))

    def records(self, check_stop: Callable[[], None]) -> Generator[_Sealed, None, None]:
        """The records in order; each is valid until the next is asked for."""
        with ThreadPoolExecutor(1, thread_name_prefix="image-sealing") as pool:
            work = pool.submit(self._run)
            try:
                while (record := self._next(check_stop)) is not None:
                    yield record
                    self._free.put(record.buffer)
            finally:
                self._free.put(None)
            work.result()

    def _next(self, check_stop: Callable[[], None]) -> _Sealed | None:
        while True:
            check_stop()
            with contextlib.suppress(queue.Empty):
                return self._sealed.get(timeout=POLL_S)

    def _run(self) -> None:
        try:
            while not self._sealer.finished:
                buffer = self._free.get()
                if buffer is None:
                    return
                self._sealed.put(self._seal_next(buffer))
        finally:
            self._sealed.put(None)

    def _seal_next(self, buffer: memoryview) -> _Sealed:
        index, length = self._sealer.next_index, self._sealer.plain_length
        plain = self._plain[:length]
        self._image.read(plain, self._announcement.offset(index))
        if index == self._announcement.chunk_count - 1:
            # Before the last record: a source that changed must not look complete.
            self._image.check_unchanged()
        is_zero = self._zero_records and self._is_zero(plain)
        sealer = self._sealer
        count = sealer.seal_zeros(buffer) if is_zero else sealer.seal(plain, buffer)
        return _Sealed(buffer, count, self._sealer.next_index, is_zero)

    def _is_zero(self, plain: memoryview) -> bool:
        # Nearly every other chunk is told apart by its first bytes. `bytes(view)` costs a copy,
        # but memoryview == bytes would compare element by element.
        probe = bytes(plain[: len(_PROBE)])
        if not probe or probe != _PROBE[: len(probe)]:
            return False
        return bytes(plain) == self._zeros[: len(plain)]


@contextlib.contextmanager
def _open_source(source: Path | BinaryIO, announcement: Announcement) -> Iterator[_Source]:
    if not isinstance(source, Path):
        yield _Source(source.fileno(), announcement)
        return
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(error) from error
    try:
        yield _Source(fd, announcement)
    finally:
        os.close(fd)


def _version(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _ignore(_: int) -> None:
    pass


def _unreadable(error: OSError) -> SourceUnreadable:
    return SourceUnreadable(
        f"The image cannot be read: {error.strerror or type(error).__name__}.",
        next_step="Check that the file is there and readable, then start the transfer again.",
    )


def _changed(how: str) -> SourceChanged:
    return SourceChanged(
        f"The image {how} since it was announced.",
        next_step="Add the image to the catalogue again and deploy that one.",
    )
