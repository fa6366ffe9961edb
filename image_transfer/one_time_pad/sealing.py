"""The sealed bytes: made once, opened chunk by chunk (FORMAT.md, 4 and 5)."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import numpy as np
from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

from image_transfer.announcement import NONCE_BYTES, Attempt
from image_transfer.errors import (
    ContentMalformed,
    HeaderMalformed,
    PadForged,
    SourceChanged,
    SourceUnreadable,
)
from image_transfer.one_time_pad.layout import (
    BLOCK_BYTES,
    IMAGE_ID_MAX_BYTES,
    TAG_BYTES,
    PadAnnouncement,
    content_bytes,
)

OPENING_MAGIC: Final = b"QNFVOTPO"
_HEADER_MAGIC: Final = b"QNFVOTPS"
_VERSION: Final = 1
_HEADER = struct.Struct(">8sBBBBHHQ16s32s")
_OPENING = struct.Struct(">8sB3sII16s32s")
_LENGTH = struct.Struct(">I")
_BOUND = struct.Struct(">16sIII")
OPENING_BYTES: Final = _OPENING.size
RECORD_MIN_BYTES: Final = _LENGTH.size + TAG_BYTES
RECORD_LENGTH_BYTES: Final = _LENGTH.size


@dataclass(frozen=True, slots=True)
class Opening:
    """The first bytes of a connection: they show the ticket, and nothing more."""

    transfer_id: UUID
    attempt: int
    start_chunk: int
    receiver_nonce: bytes = field(repr=False)

    def encode(self) -> bytes:
        return _OPENING.pack(
            OPENING_MAGIC,
            _VERSION,
            bytes(3),
            self.attempt,
            self.start_chunk,
            self.transfer_id.bytes,
            self.receiver_nonce,
        )

    @classmethod
    def decode(cls, data: bytes) -> Opening:
        """Raises HeaderMalformed for any other encoding."""
        if len(data) != OPENING_BYTES:
            raise HeaderMalformed(
                "The opening is cut.", next_step="Ask for a ticket and begin again."
            )
        magic, version, reserved, attempt, start_chunk, transfer_id, nonce = _OPENING.unpack(data)
        if magic != OPENING_MAGIC or version != _VERSION or any(reserved):
            raise HeaderMalformed(
                "The connection does not begin as a one-time pad of version 1 does.",
                next_step="Run the same version of qnfv at both ends.",
            )
        return cls(UUID(bytes=transfer_id), attempt, start_chunk, nonce)

    @classmethod
    def of(cls, transfer_id: UUID, ticket: Attempt) -> Opening:
        assert len(ticket.receiver_nonce) == NONCE_BYTES
        return cls(transfer_id, ticket.number, ticket.start_chunk, ticket.receiver_nonce)


def encode_header(announcement: PadAnnouncement) -> bytes:
    """The one header of this announcement."""
    sender, destination = announcement.sender.encode(), announcement.destination.encode()
    names = bytes([len(sender)]) + sender + bytes([len(destination)]) + destination
    return (
        _HEADER.pack(
            _HEADER_MAGIC,
            _VERSION,
            announcement.chunk_log2,
            announcement.key_source,
            0,
            _HEADER.size + len(names),
            0,
            announcement.content_size,
            announcement.transfer_id.bytes,
            announcement.commitment,
        )
        + names
    )


def record_offset(announcement: PadAnnouncement, index: int) -> int:
    """Where record `index` begins in the sealed file."""
    start = len(encode_header(announcement)) + TAG_BYTES
    return start + index * (RECORD_MIN_BYTES + announcement.chunk_bytes)


def sealed_size(announcement: PadAnnouncement) -> int:
    """Size of the sealed file."""
    last = announcement.chunks - 1
    return record_offset(announcement, last) + RECORD_MIN_BYTES + announcement.plain_length(last)


def seal_file(
    target: Path,
    source: Path,
    announcement: PadAnnouncement,
    pad: bytearray,
    *,
    image_digest: bytes,
    image_id: str,
) -> None:
    """Seal the image in `source` into `target`, whole or not at all, and sync it to disk.

    `pad` is all blocks joined, the caller's to wipe; `image_digest` is the BLAKE3 that the image
    must have. Done again with the same image and pad it gives the same bytes. Raises SourceChanged,
    SourceUnreadable, or ValueError for a pad of another length.
    """
    content = _content(source, image_digest, image_id)
    try:
        if len(content) != announcement.content_size:
            raise _changed(f"{source.name} has another size than was announced")
        draft = target.with_suffix(".draft")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with draft.open("wb") as file:
            for part in seal(announcement, content, pad):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(target)
        _sync_folder(target.parent)
    finally:
        content[:] = bytes(len(content))


def seal(announcement: PadAnnouncement, content: bytearray, pad: bytearray) -> Iterator[bytes]:
    """The sealed file, part by part."""
    check_pad(announcement, pad)
    header = encode_header(announcement)
    yield header
    yield Poly1305.generate_tag(bytes(pad[announcement.header_key]), header)
    view = memoryview(content)
    for index in range(announcement.chunks):
        start = index << announcement.chunk_log2
        plain = view[start : start + announcement.plain_length(index)]
        ciphertext = bytes(xor(plain, pad, announcement.chunk_pad(index)))
        tag = Poly1305.generate_tag(
            bytes(pad[announcement.chunk_key(index)]), _bound(announcement, index, ciphertext)
        )
        yield _LENGTH.pack(len(ciphertext)) + ciphertext + tag


def check_header(announcement: PadAnnouncement, header: bytes, tag: bytes, pad: bytearray) -> None:
    """The header is the announced one and its tag verifies. HeaderMalformed, PadForged."""
    check_pad(announcement, pad)
    if header != encode_header(announcement):
        raise HeaderMalformed(
            "The header does not say what was announced.",
            next_step="Run the same version of qnfv at both ends, and begin again.",
        )
    _verify(pad[announcement.header_key], header, tag, "header")


def open_record(
    announcement: PadAnnouncement, index: int, ciphertext: bytes, tag: bytes, pad: bytearray
) -> bytearray:
    """The plain chunk of a record, once its tag verified. PadForged."""
    bound = _bound(announcement, index, ciphertext)
    _verify(pad[announcement.chunk_key(index)], bound, tag, f"chunk {index}")
    return xor(ciphertext, pad, announcement.chunk_pad(index))


def check_pad(announcement: PadAnnouncement, pad: bytearray) -> None:
    """A pad is never stretched or cut: ValueError."""
    if len(pad) != BLOCK_BYTES * announcement.block_count:
        raise ValueError(f"a pad of {len(pad)} bytes is not {announcement.block_count} blocks")


def xor(data: bytes | bytearray | memoryview, pad: bytearray, place: slice) -> bytearray:
    """`data` XOR the bytes of the pad at `place`, which are as many."""
    result = bytearray(len(data))
    if result:
        np.bitwise_xor(
            np.frombuffer(data, np.uint8),
            np.frombuffer(pad, np.uint8)[place],
            out=np.frombuffer(result, np.uint8),
        )
    return result


@dataclass(frozen=True)
class Content:
    """What was under the pad."""

    image_digest: bytes
    image_id: str
    image: memoryview = field(repr=False)


def open_content(content: bytearray) -> Content:
    """Digest, id and image, once they agree. ContentMalformed if they do not."""
    view = memoryview(content)
    digest, length = bytes(view[:32]), int.from_bytes(view[32:34], "big")
    if not 0 <= length <= IMAGE_ID_MAX_BYTES or len(view) < 34 + length:
        raise _malformed("its parts are longer than the whole")
    try:
        image_id = bytes(view[34 : 34 + length]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed("the id in it is not UTF-8") from error
    image = view[34 + length :]
    if blake3(image).digest() != digest:
        raise _malformed("the image in it has another digest")
    return Content(digest, image_id, image)


def _content(source: Path, image_digest: bytes, image_id: str) -> bytearray:
    try:
        image = source.read_bytes()
    except OSError as error:
        raise SourceUnreadable(
            f"{source.name} cannot be read ({error.strerror}).",
            next_step="Add the image to the catalogue again.",
        ) from error
    if blake3(image).digest() != image_digest:
        raise _changed(f"{source.name} has another digest than the catalogue says")
    name = image_id.encode()
    content = bytearray(content_bytes(0, image_id) + len(image))
    content[:32] = image_digest
    content[32:34] = len(name).to_bytes(2, "big")
    content[34 : 34 + len(name)] = name
    content[34 + len(name) :] = image
    return content


def _bound(announcement: PadAnnouncement, index: int, ciphertext: bytes) -> bytes:
    return (
        _BOUND.pack(announcement.transfer_id.bytes, index, announcement.chunks, len(ciphertext))
        + ciphertext
    )


def _verify(key: bytearray, data: bytes, tag: bytes, what: str) -> None:
    try:
        Poly1305.verify_tag(bytes(key), data, tag)
    except InvalidSignature as error:
        raise PadForged(
            f"The tag of the {what} does not verify; its key served once, so the pad is burned.",
            next_step="Start a new transfer with a new pad. If it repeats, somebody alters bytes.",
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _changed(why: str) -> SourceChanged:
    return SourceChanged(f"{why}.", next_step="Add the image to the catalogue again.")


def _malformed(why: str) -> ContentMalformed:
    return ContentMalformed(
        f"What came under the pad is no image: {why}.",
        next_step="Add the image to the catalogue again and deploy that one.",
    )
