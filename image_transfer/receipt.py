"""The receipt: the receiver's word, under a key of its own, that it placed the image.

FORMAT.md, section 9.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from image_transfer.errors import ReceiptForged, ReceiptMalformed, ReceiptMismatch
from image_transfer.header import Header
from image_transfer.keys import ReceiptKey

PLACED_ID_MAX_BYTES: Final = 512
MAC_BYTES: Final = 32

_MAGIC: Final = b"QNFVRCPT"
_VERSION: Final = 1
_FIXED = struct.Struct(">8sB16sIQ32sH")


@dataclass(frozen=True, slots=True)
class Receipt:
    """`placed_image_id` is the id under which the destination holds the image."""

    transfer_id: UUID
    attempt: int
    image_size: int
    image_digest: bytes
    placed_image_id: str
    mac: bytes = field(repr=False)

    def message(self) -> bytes:
        """The authenticated bytes."""
        return _message(
            self.transfer_id, self.attempt, self.image_size, self.image_digest, self.placed_image_id
        )

    def encode(self) -> bytes:
        return self.message() + self.mac

    @classmethod
    def decode(cls, data: bytes) -> Receipt:
        """The receipt whose exact encoding is `data`. Raises `ReceiptMalformed`."""
        if len(data) < _FIXED.size + 1 + MAC_BYTES:
            raise _malformed("is too short")
        magic, version, transfer_id, attempt, size, digest, length = _FIXED.unpack_from(data)
        if magic != _MAGIC or version != _VERSION:
            raise _malformed("has another magic or version")
        placed_id = data[_FIXED.size : -MAC_BYTES]
        if not 1 <= length == len(placed_id) <= PLACED_ID_MAX_BYTES:
            raise _malformed("has a wrong length")
        try:
            name = placed_id.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _malformed("has an id that is not UTF-8") from error
        return cls(UUID(bytes=transfer_id), attempt, size, digest, name, data[-MAC_BYTES:])


def make_receipt(key: ReceiptKey, header: Header, placed_image_id: str) -> Receipt:
    """The receipt for the attempt of `header`, whose image now is `placed_image_id`.

    Raises `ReceiptMalformed` when the id has not 1 to 512 bytes of UTF-8.
    """
    a = header.announcement
    fields = (
        a.transfer_id,
        header.attempt.number,
        a.image_size,
        a.image_digest,
        placed_image_id,
    )
    return Receipt(*fields, mac=hmac.digest(key.value, _message(*fields), hashlib.sha256))


def verify_receipt(receipt: Receipt, key: ReceiptKey, header: Header) -> None:
    """Raise unless `receipt` is authentic and for the attempt of `header`.

    Raises `ReceiptForged` or `ReceiptMismatch`; compares in constant time.
    """
    expected = hmac.digest(key.value, receipt.message(), hashlib.sha256)
    if not hmac.compare_digest(expected, receipt.mac):
        raise ReceiptForged(
            "The MAC of the receipt does not verify under the key of this attempt.",
            next_step="Keep the key and ask the receiver for the receipt again.",
        )
    a = header.announcement
    for name, found, wanted in (
        ("transfer id", receipt.transfer_id, a.transfer_id),
        ("attempt", receipt.attempt, header.attempt.number),
        ("image size", receipt.image_size, a.image_size),
        ("image digest", receipt.image_digest, a.image_digest),
    ):
        if found != wanted:
            raise ReceiptMismatch(name)


def _message(
    transfer_id: UUID, attempt: int, image_size: int, image_digest: bytes, placed_image_id: str
) -> bytes:
    try:
        placed_id = placed_image_id.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _malformed("has an id that is not UTF-8") from error
    if not 1 <= len(placed_id) <= PLACED_ID_MAX_BYTES:
        raise _malformed("has an id that is empty or longer than 512 bytes")
    return (
        _FIXED.pack(
            _MAGIC, _VERSION, transfer_id.bytes, attempt, image_size, image_digest, len(placed_id)
        )
        + placed_id
    )


def _malformed(why: str) -> ReceiptMalformed:
    return ReceiptMalformed(
        f"The receipt {why}.", next_step="Keep the key and ask the receiver for the receipt again."
    )
