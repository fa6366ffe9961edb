"""Sizes and places: how many blocks a message takes, and which block serves what (FORMAT.md, 1)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from image_transfer.announcement import NAME_MAX_BYTES, KeySource
from image_transfer.errors import AnnouncementInvalid

BLOCK_BYTES: Final = 32
TAG_BYTES: Final = 16
CHUNK_LOG2_MIN: Final = 10
CHUNK_LOG2_MAX: Final = 20
CHUNK_LOG2_DEFAULT: Final = 14
IMAGE_ID_MAX_BYTES: Final = 512
_DIGEST_BYTES: Final = 32
_LENGTH_BYTES: Final = 2
_COMMITMENT_LABEL: Final = b"qnfv one-time pad v1"
_NAME = re.compile(rf"[\x21-\x7e]{{1,{NAME_MAX_BYTES}}}", re.ASCII)


def content_bytes(image_size: int, image_id: str) -> int:
    """Size of the content: digest, id and image."""
    return _DIGEST_BYTES + _LENGTH_BYTES + len(image_id.encode()) + image_size


def pad_blocks(content_size: int, chunk_log2: int = CHUNK_LOG2_DEFAULT) -> int:
    """Blocks of 32 bytes that a content of this size takes. Raises AnnouncementInvalid."""
    if not CHUNK_LOG2_MIN <= chunk_log2 <= CHUNK_LOG2_MAX:
        raise _invalid("chunk log2", f"is {chunk_log2}, outside 10 to 20")
    return -(-content_size // BLOCK_BYTES) + chunk_count(content_size, chunk_log2) + 2


def chunk_count(content_size: int, chunk_log2: int) -> int:
    return max(1, -(-content_size >> chunk_log2))


def pad_commitment(block_ids: Sequence[UUID]) -> bytes:
    """SHA-256 over the blocks' ids in their order: names the pad, tells nothing of the content."""
    return hashlib.sha256(
        _COMMITMENT_LABEL + b"".join(block_id.bytes for block_id in block_ids)
    ).digest()


@dataclass(frozen=True, slots=True)
class PadAnnouncement:
    """What both ends know before the first byte. AnnouncementInvalid for values out of range."""

    transfer_id: UUID
    content_size: int
    block_count: int
    commitment: bytes
    key_source: KeySource
    sender: str
    destination: str
    chunk_log2: int = CHUNK_LOG2_DEFAULT

    def __post_init__(self) -> None:
        if self.content_size < _DIGEST_BYTES + _LENGTH_BYTES:
            raise _invalid("content size", f"is {self.content_size}")
        needed = pad_blocks(self.content_size, self.chunk_log2)
        if self.block_count != needed:
            raise _invalid("pad", f"has {self.block_count} blocks; this content takes {needed}")
        if len(self.commitment) != _DIGEST_BYTES:
            raise _invalid("pad commitment", f"has {len(self.commitment)} bytes instead of 32")
        for name, value in (("sender", self.sender), ("destination", self.destination)):
            if not _NAME.fullmatch(value):
                raise _invalid(name, "is not 1 to 128 printable ASCII characters without spaces")

    @property
    def chunk_bytes(self) -> int:
        return 1 << self.chunk_log2

    @property
    def chunks(self) -> int:
        return chunk_count(self.content_size, self.chunk_log2)

    def plain_length(self, index: int) -> int:
        """Length of chunk `index`."""
        if index < self.chunks - 1:
            return self.chunk_bytes
        return self.content_size - (index << self.chunk_log2)

    # --- places in the pad, in bytes --------------------------------------------------------------

    @property
    def header_key(self) -> slice:
        return slice(0, BLOCK_BYTES)

    def chunk_key(self, index: int) -> slice:
        return slice(BLOCK_BYTES * (1 + index), BLOCK_BYTES * (2 + index))

    def chunk_pad(self, index: int) -> slice:
        start = BLOCK_BYTES * (1 + self.chunks) + (index << self.chunk_log2)
        return slice(start, start + self.plain_length(index))

    @property
    def receipt_key(self) -> slice:
        return slice(BLOCK_BYTES * (self.block_count - 1), BLOCK_BYTES * self.block_count)


def _invalid(name: str, why: str) -> AnnouncementInvalid:
    return AnnouncementInvalid(
        f"The {name} {why}.", next_step="Correct it and announce the transfer again.", field=name
    )
