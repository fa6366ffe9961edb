"""A transfer of a small image, whose stream can be taken apart and put together wrongly."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from blake3 import blake3

from image_transfer import (
    Announcement,
    Attempt,
    AttemptKeys,
    Header,
    ImageReceiver,
    KeySource,
    MemorySink,
    ReceiveReport,
    ReceiverLimits,
    derive_attempt_keys,
    read_header,
)
from image_transfer.records import RECORD_MIN_BYTES, RecordSealer

CHUNK_BYTES = 1024
LIMITS = ReceiverLimits(record_timeout_s=5, commitment_timeout_s=5)


@dataclass
class Stream:
    """The parts of one attempt's stream."""

    header: bytes
    commitment: bytes
    records: list[bytes]

    @property
    def data(self) -> bytes:
        return self.header + self.commitment + b"".join(self.records)


@dataclass
class Transfer:
    """Both ends' knowledge of one transfer, and a way to play the sender by hand."""

    image: bytes
    announcement: Announcement
    qkd_key: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    @classmethod
    def of(cls, image: bytes, **fields: object) -> Transfer:
        announcement = Announcement(
            transfer_id=uuid4(),
            image_digest=blake3(image).digest(),
            image_size=len(image),
            key_id=UUID(int=7),
            key_source=KeySource.EMULATED,
            sender="orchestrator",
            destination="dc-3",
            chunk_log2=10,
        )
        return cls(image, replace(announcement, **fields))

    def keys(self, header: Header) -> AttemptKeys:
        return derive_attempt_keys(self.qkd_key, header)

    def receiver(self, sink: MemorySink, limits: ReceiverLimits = LIMITS) -> ImageReceiver:
        return ImageReceiver(self.announcement, sink, limits=limits)

    def stream(
        self,
        attempt: Attempt,
        *,
        image: bytes | None = None,
        zero_records: bool = False,
        **fields: object,
    ) -> Stream:
        """What an honest sender sends; `fields` alter what it believes was announced."""
        image = self.image if image is None else image
        announcement = replace(self.announcement, **fields)
        header = Header.draw(announcement, attempt)
        keys = self.keys(header)
        sealer = RecordSealer(header, keys)
        records = []
        while not sealer.finished:
            start = announcement.offset(sealer.next_index)
            plain = image[start : start + sealer.plain_length]
            into = bytearray(RECORD_MIN_BYTES + len(plain))
            if zero_records and plain and not any(plain):
                length = sealer.seal_zeros(memoryview(into))
            else:
                length = sealer.seal(memoryview(plain), memoryview(into))
            records.append(bytes(into[:length]))
        return Stream(header.encode(), keys.commitment, records)

    def deliver(self, receiver: ImageReceiver, data: bytes, *, end: bool = True) -> ReceiveReport:
        """Let `receiver` have a connection on which `data` arrives, and perhaps its end."""
        near, far = socket.socketpair()
        with near, far:

            def send() -> None:
                try:
                    near.sendall(data)
                    if end:
                        near.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # the receiver has had enough

            sender = threading.Thread(target=send)
            sender.start()
            try:
                return receiver.receive(far, read_header(far, 5), self.keys)
            finally:
                far.close()
                sender.join()

    def complete(self, receiver: ImageReceiver) -> ReceiveReport:
        """Bring the transfer to its end with an honest attempt."""
        return self.deliver(receiver, self.stream(receiver.issue_attempt()).data)


@pytest.fixture
def transfer() -> Transfer:
    """Five chunks of random bytes, the last one short."""
    return Transfer.of(os.urandom(4 * CHUNK_BYTES + 300))


@pytest.fixture(scope="session")
def transfer_of() -> type[Transfer]:
    return Transfer


@pytest.fixture
def image_file(tmp_path: Path, transfer: Transfer) -> Path:
    path = tmp_path / "image"
    path.write_bytes(transfer.image)
    return path
