"""The sending end of a connection: bytes of the sealed file, never other ones."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from image_transfer.announcement import Attempt
from image_transfer.connection import Connection
from image_transfer.errors import SourceChanged, SourceUnreadable, TransferCancelled
from image_transfer.one_time_pad.layout import TAG_BYTES, PadAnnouncement
from image_transfer.one_time_pad.sealing import (
    RECORD_MIN_BYTES,
    Opening,
    encode_header,
    record_offset,
    sealed_size,
)
from timekeeping import Clock, SystemClock

STALL_TIMEOUT_S: Final = 120.0


def send_sealed_file(
    connection: socket.socket,
    sealed: Path,
    announcement: PadAnnouncement,
    attempt: Attempt,
    *,
    progress: Callable[[int], None] | None = None,
    cancelled: threading.Event | None = None,
    stall_timeout_s: float = STALL_TIMEOUT_S,
    clock: Clock | None = None,
) -> int:
    """Send the sealed file from the attempt's start chunk on; returns the bytes on the wire.

    `progress` gets the bytes of the content that have left. No record may take longer than
    `stall_timeout_s` seconds. Raises SourceUnreadable, SourceChanged, TransferCancelled,
    ConnectionLost, PeerStalled or TrailingBytes.
    """
    cancelled = cancelled or threading.Event()

    def check_stop() -> None:
        if cancelled.is_set():
            raise TransferCancelled("The transfer was cancelled at the sender.")

    wire = Connection(connection, clock or SystemClock(), check_stop)
    data = _read(sealed, announcement)
    begin = len(encode_header(announcement)) + TAG_BYTES
    first = Opening.of(announcement.transfer_id, attempt).encode() + bytes(data[:begin])
    wire.send_all(memoryview(first), stall_timeout_s)
    sent = len(first)
    for index in range(attempt.start_chunk, announcement.chunks):
        check_stop()
        at = record_offset(announcement, index)
        record = data[at : at + RECORD_MIN_BYTES + announcement.plain_length(index)]
        wire.send_all(record, stall_timeout_s)
        sent += len(record)
        if progress is not None:
            progress((index << announcement.chunk_log2) + announcement.plain_length(index))
    wire.end()
    wire.expect_end(stall_timeout_s)
    return sent


def _read(sealed: Path, announcement: PadAnnouncement) -> memoryview:
    try:
        data = sealed.read_bytes()
    except OSError as error:
        raise SourceUnreadable(
            f"The sealed file of transfer {announcement.transfer_id} cannot be read "
            f"({error.strerror}).",
            next_step="Start a new transfer; it takes a new pad.",
        ) from error
    if len(data) != sealed_size(announcement) or not data.startswith(encode_header(announcement)):
        raise SourceChanged(
            f"The sealed file of transfer {announcement.transfer_id} was altered.",
            next_step="Start a new transfer; it takes a new pad.",
        )
    return memoryview(data)
