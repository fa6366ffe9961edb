"""The key schedule (FORMAT.md, section 5) and the keys of one attempt.

Python cannot promise erasure: the interpreter may have copied a value, and the cipher object of
the cryptography library keeps a copy of its key until it is collected. `destroy` overwrites what
this package itself holds, as early as it can.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from image_transfer.header import Header

IKM_MIN_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32

_AES_KEY_BYTES: Final = 32
_NONCE_PREFIX_BYTES: Final = 7
_RECORDS_LABEL: Final = b"qnfv sealed stream v1 records"
_RECEIPT_LABEL: Final = b"qnfv sealed stream v1 receipt"


class ReceiptKey:
    """Key of the receipt of one attempt, 32 bytes; never shown."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes | bytearray) -> None:
        self._value = bytearray(value)

    @property
    def value(self) -> bytearray:
        if not self._value:
            raise ValueError("the receipt key was destroyed")
        return self._value

    def destroy(self) -> None:
        _wipe(self._value)

    def __repr__(self) -> str:
        return "ReceiptKey(redacted)"


class AttemptKeys:
    """All keys of one attempt, and its commitment (which is public). Never shown."""

    __slots__ = ("_aes_key", "_nonce_prefix", "commitment", "receipt_key")

    def __init__(
        self,
        aes_key: bytes | bytearray,
        nonce_prefix: bytes | bytearray,
        commitment: bytes,
        receipt_key: ReceiptKey,
    ) -> None:
        self._aes_key = bytearray(aes_key)
        self._nonce_prefix = bytearray(nonce_prefix)
        self.commitment = bytes(commitment)
        self.receipt_key = receipt_key

    @property
    def aes_key(self) -> bytearray:
        if not self._aes_key:
            raise ValueError("the keys of this attempt were destroyed")
        return self._aes_key

    @property
    def nonce_prefix(self) -> bytearray:
        if not self._nonce_prefix:
            raise ValueError("the keys of this attempt were destroyed")
        return self._nonce_prefix

    def destroy_record_keys(self) -> None:
        """Forget what seals records; the receipt key stays."""
        _wipe(self._aes_key)
        _wipe(self._nonce_prefix)

    def destroy(self) -> None:
        self.destroy_record_keys()
        self.receipt_key.destroy()

    def __repr__(self) -> str:
        return "AttemptKeys(redacted)"


class KeyDerivation(Protocol):
    """Hands out the keys of the attempt that `header` describes; the QKD key stays behind it."""

    def __call__(self, header: Header, /) -> AttemptKeys: ...


def derive_attempt_keys(ikm: bytes | bytearray | memoryview, header: Header) -> AttemptKeys:
    """The keys of one attempt from the QKD key `ikm` (at least 32 bytes).

    For the key store; sender and receiver never hold `ikm`. Raises `ValueError` when it is short.
    """
    if len(ikm) < IKM_MIN_BYTES:
        raise ValueError(f"the QKD key is shorter than {IKM_MIN_BYTES} bytes")
    digest = hashlib.sha256(header.encode()).digest()
    records = bytearray(_AES_KEY_BYTES + _NONCE_PREFIX_BYTES + COMMITMENT_BYTES)
    receipt = bytearray(32)
    try:
        _expand(ikm, header.salt, _RECORDS_LABEL + digest, records)
        _expand(ikm, header.salt, _RECEIPT_LABEL + digest, receipt)
        return AttemptKeys(
            records[:32], records[32:39], bytes(records[39:]), ReceiptKey(receipt)
        )  # fmt: skip
    finally:
        _wipe(records)
        _wipe(receipt)


def _expand(ikm: bytes | bytearray | memoryview, salt: bytes, info: bytes, into: bytearray) -> None:
    HKDF(algorithm=SHA256(), length=len(into), salt=salt, info=info).derive_into(ikm, into)


def _wipe(secret: bytearray) -> None:
    secret[:] = bytes(len(secret))
    secret.clear()
