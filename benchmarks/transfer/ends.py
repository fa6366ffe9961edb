"""One end of one copy, as a process: reads its job as a line of JSON, answers with its cost.

The monotonic clock is the machine's, so that times of both ends can be compared.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from image_transfer import (
    Announcement,
    Attempt,
    AttemptKeys,
    Header,
    ImageReceiver,
    KeySource,
    derive_attempt_keys,
    read_header,
    send_image,
)
from image_transfer.errors import TransferError

CHUNK_BYTES: Final = 1 << 20
_ID: Final = UUID(int=1)


class FileSink:
    """Writes the image into a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)

    def write(self, chunk: memoryview, /) -> None:
        self._file.write(chunk)

    def finish(self) -> None:
        self._file.close()

    def abort(self, _: TransferError, /) -> None:
        self._file.close()


def send_plain(connection: socket.socket, job: dict[str, Any]) -> None:
    with Path(job["source"]).open("rb") as source:
        connection.sendfile(source)
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)


def receive_plain(connection: socket.socket, job: dict[str, Any]) -> None:
    # Page-aligned, as the other candidate's: worth a third of this end's time on some processors.
    buffer = memoryview(mmap.mmap(-1, CHUNK_BYTES))
    with Path(job["target"]).open("wb", buffering=0) as target:
        while count := connection.recv_into(buffer):
            target.write(buffer[:count])


def send_sealed(connection: socket.socket, job: dict[str, Any]) -> None:
    connection.sendall(b"?")  # stands for the control channel: asks for the ticket
    nonce = bytearray(32)
    with connection.makefile("rb", buffering=0) as answers:
        answers.readinto(nonce)
    ticket = Attempt(1, 0, bytes(nonce))
    send_image(connection, Path(job["source"]), _announcement(job), ticket, _keys)


def receive_sealed(connection: socket.socket, job: dict[str, Any]) -> None:
    receiver = ImageReceiver(_announcement(job), FileSink(Path(job["target"])))
    connection.recv(1)
    connection.sendall(receiver.issue_attempt().receiver_nonce)
    receiver.receive(connection, read_header(connection), _keys)


ENDS: Final = {
    "plain": (send_plain, receive_plain),
    "sealed": (send_sealed, receive_sealed),
}


def main() -> None:
    end = sys.argv[1]
    job = json.loads(sys.stdin.readline())
    send, receive = ENDS[job["candidate"]]
    if end == "send":
        start_s, start_cpu_s = time.monotonic(), time.process_time()
        with socket.create_connection(("127.0.0.1", job["port"])) as connection:
            send(connection, job)
        _say(start_s=start_s, cpu_s=time.process_time() - start_cpu_s)
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _say(port=listener.getsockname()[1])
        connection, _ = listener.accept()
        start_cpu_s = time.process_time()
        with connection:
            receive(connection, job)
        _say(end_s=time.monotonic(), cpu_s=time.process_time() - start_cpu_s)


def _announcement(job: dict[str, Any]) -> Announcement:
    return Announcement(
        transfer_id=_ID,
        image_digest=bytes.fromhex(job["digest"]),
        image_size=job["size"],
        key_id=_ID,
        key_source=KeySource.EMULATED,
        sender="bench-sender",
        destination="bench-receiver",
    )


def _keys(header: Header) -> AttemptKeys:
    """A key that protects nothing: random bytes of the bench travel here."""
    return derive_attempt_keys(hashlib.sha256(b"bench").digest(), header)


def _say(**answer: float) -> None:
    sys.stdout.write(json.dumps(answer) + os.linesep)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
