"""One end of a sealed image transfer, as a process in a node's namespace.

transfer_end.py receive ADDRESS PORT FILE SIZE DIGEST   prints its nonce's port, then `done`
transfer_end.py send ADDRESS PORT FILE SIZE DIGEST
"""

from __future__ import annotations

import hashlib
import socket
import sys
import threading
from pathlib import Path
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

_ID = UUID(int=1)
_CHUNK_PAUSE_S = 0.02
"""A slow disk, so that a test has time to cut the circuit in the middle."""


class SlowSink:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._pause = threading.Event()

    def write(self, chunk: memoryview, /) -> None:
        self._file.write(chunk)
        self._pause.wait(_CHUNK_PAUSE_S)

    def finish(self) -> None:
        self._file.close()

    def abort(self, _: TransferError, /) -> None:
        self._file.close()


def main() -> None:
    role, address, port, file, size, digest = sys.argv[1:]
    announcement = Announcement(
        transfer_id=_ID,
        image_digest=bytes.fromhex(digest),
        image_size=int(size),
        key_id=_ID,
        key_source=KeySource.EMULATED,
        sender="twin-sender",
        destination="twin-receiver",
    )
    if role == "send":
        with socket.create_connection((address, int(port)), timeout=60) as connection:
            connection.settimeout(120)
            connection.sendall(b"?")
            nonce = bytearray(32)
            with connection.makefile("rb", buffering=0) as answers:
                answers.readinto(nonce)
            send_image(connection, Path(file), announcement, Attempt(1, 0, bytes(nonce)), _keys)
        return
    with socket.create_server((address, int(port))) as listener:
        print("ready", flush=True)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(120)
            receiver = ImageReceiver(announcement, SlowSink(Path(file)))
            connection.recv(1)
            connection.sendall(receiver.issue_attempt().receiver_nonce)
            receiver.receive(connection, read_header(connection), _keys)
    print("done", flush=True)


def _keys(header: Header) -> AttemptKeys:
    """A key that protects nothing: random bytes of a test travel here."""
    return derive_attempt_keys(hashlib.sha256(b"twin").digest(), header)


if __name__ == "__main__":
    main()
