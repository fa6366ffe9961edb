"""The receiver's word that it placed the image, under a key that serves once (FORMAT.md, 6)."""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.poly1305 import Poly1305

from image_transfer.errors import ReceiptForged, ReceiptMalformed, ReceiptMismatch
from image_transfer.one_time_pad.layout import TAG_BYTES

_MAGIC: Final = b"QNFVOTPR"
_VERSION: Final = 1
_FORM = struct.Struct(">8sB16sQ32s")
RECEIPT_BYTES: Final = _FORM.size + TAG_BYTES


@dataclass(frozen=True, slots=True)
class PadReceipt:
    """`sealed_digest` is the SHA-256 of the sealed file as it arrived."""

    transfer_id: UUID
    content_size: int
    sealed_digest: bytes
    tag: bytes = field(repr=False)

    def message(self) -> bytes:
        return _FORM.pack(
            _MAGIC, _VERSION, self.transfer_id.bytes, self.content_size, self.sealed_digest
        )

    def encode(self) -> bytes:
        return self.message() + self.tag

    @classmethod
    def decode(cls, data: bytes) -> PadReceipt:
        """Raises ReceiptMalformed for any other encoding."""
        if len(data) != RECEIPT_BYTES or data[:8] != _MAGIC or data[8] != _VERSION:
            raise ReceiptMalformed(
                "This is no receipt of a one-time pad.",
                next_step="Keep the pad's last block and ask the receiver again.",
            )
        _, _, transfer_id, size, digest = _FORM.unpack(data[: _FORM.size])
        return cls(UUID(bytes=transfer_id), size, digest, data[_FORM.size :])


def make_pad_receipt(
    key: bytes | bytearray, transfer_id: UUID, content_size: int, sealed_digest: bytes
) -> PadReceipt:
    """The receipt under the pad's last block (32 bytes)."""
    bare = PadReceipt(transfer_id, content_size, sealed_digest, b"")
    tag = Poly1305.generate_tag(bytes(key), bare.message())
    return PadReceipt(transfer_id, content_size, sealed_digest, tag)


def verify_pad_receipt(
    receipt: PadReceipt,
    key: bytes | bytearray,
    transfer_id: UUID,
    content_size: int,
    sealed_digest: bytes,
) -> None:
    """Raise ReceiptForged or ReceiptMismatch unless the receipt is authentic and for this file."""
    expected = Poly1305.generate_tag(bytes(key), receipt.message())
    if not hmac.compare_digest(expected, receipt.tag):
        raise ReceiptForged(
            "The tag of the receipt does not verify under the pad's last block.",
            next_step="Distrust what was placed; start again with a new pad.",
        )
    for name, found, wanted in (
        ("transfer id", receipt.transfer_id, transfer_id),
        ("content size", receipt.content_size, content_size),
        ("sealed digest", receipt.sealed_digest, sealed_digest),
    ):
        if found != wanted:
            raise ReceiptMismatch(name)
