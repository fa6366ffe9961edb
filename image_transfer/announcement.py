"""What both ends know before the first byte: the announcement and the ticket of an attempt.

Both travel on the mutually authenticated control channel (FORMAT.md, section 1).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from uuid import UUID

from image_transfer.errors import AnnouncementInvalid

CHUNK_LOG2_MIN = 10
CHUNK_LOG2_MAX = 24
CHUNK_LOG2_DEFAULT = 20
CHUNKS_MAX = 2**32
NAME_MAX_BYTES = 128
DIGEST_BYTES = 32
NONCE_BYTES = 32

_NAME = re.compile(rf"[\x21-\x7e]{{1,{NAME_MAX_BYTES}}}", re.ASCII)


class Suite(enum.IntEnum):
    """Suites of the sealed stream (FORMAT.md, section 4). Value 2 stays unused."""

    AES_256_GCM = 1

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", "-")


class Direction(enum.IntEnum):
    OUTWARD = 1
    """From the centre to a data centre."""
    HOMEWARD = 2
    """From a data centre to the centre."""


class KeySource(enum.IntEnum):
    QUANTUM = 1
    EMULATED = 2


@dataclass(frozen=True, slots=True)
class Announcement:
    """One message: this image to this destination under this key.

    `image_size` is in bytes, `image_digest` is the BLAKE3 of the plain image (32 bytes).
    Raises `AnnouncementInvalid` when a value is out of its range.
    """

    transfer_id: UUID
    image_digest: bytes
    image_size: int
    key_id: UUID
    key_source: KeySource
    sender: str
    destination: str
    suite: Suite = Suite.AES_256_GCM
    direction: Direction = Direction.OUTWARD
    chunk_log2: int = CHUNK_LOG2_DEFAULT

    def __post_init__(self) -> None:
        if len(self.image_digest) != DIGEST_BYTES:
            raise _invalid("image digest", f"has {len(self.image_digest)} bytes instead of 32")
        if not CHUNK_LOG2_MIN <= self.chunk_log2 <= CHUNK_LOG2_MAX:
            raise _invalid("chunk log2", f"is {self.chunk_log2}, outside 10 to 24")
        if not 0 <= self.image_size <= CHUNKS_MAX << self.chunk_log2:
            raise _invalid("image size", f"is {self.image_size}, more chunks than a key may seal")
        for name, value in (("sender", self.sender), ("destination", self.destination)):
            if not _NAME.fullmatch(value):
                raise _invalid(name, "is not 1 to 128 printable ASCII characters without spaces")

    @property
    def chunk_bytes(self) -> int:
        return 1 << self.chunk_log2

    @property
    def chunk_count(self) -> int:
        """Number of chunks, at least 1: an empty image is one empty chunk."""
        return max(1, -(-self.image_size >> self.chunk_log2))

    def plain_length(self, index: int) -> int:
        """Length of chunk `index` in bytes."""
        if index < self.chunk_count - 1:
            return self.chunk_bytes
        return self.image_size - (index << self.chunk_log2)

    def offset(self, index: int) -> int:
        """Where chunk `index` begins in the image; for the index after the last, the size."""
        return min(index << self.chunk_log2, self.image_size)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The receiver's ticket for one attempt: `number` from 1, rising; `start_chunk` is its mark.

    `receiver_nonce` is 32 random bytes. Raises `AnnouncementInvalid` for values out of range.
    """

    number: int
    start_chunk: int
    receiver_nonce: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.number < 2**32:
            raise _invalid("attempt number", f"is {self.number}, outside 1 to 2^32 - 1")
        if not 0 <= self.start_chunk < CHUNKS_MAX:
            raise _invalid("start chunk", f"is {self.start_chunk}, outside 0 to 2^32 - 1")
        if len(self.receiver_nonce) != NONCE_BYTES:
            raise _invalid("receiver nonce", f"has {len(self.receiver_nonce)} bytes instead of 32")


def _invalid(name: str, why: str) -> AnnouncementInvalid:
    return AnnouncementInvalid(
        f"The {name} {why}.", next_step="Correct it and announce the transfer again.", field=name
    )
