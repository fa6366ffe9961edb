"""Keys that wrap the ledger's keys: files outside the database, one an epoch.

Dropping such a file makes what it wrapped unreadable, also in the database's logs and backups;
this is the erasure that we can promise. What stays: copies that the operating system, the disk
and the Python process may still hold for a while.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from key_management.errors import WrappingKeyError

_NONCE_BYTES = 12


class WrappingKeys:
    """The wrapping keys of one store, in a folder that only its service may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fingerprint_secret = self._load_or_make(folder / "fingerprint.secret")

    def wrap(self, epoch: UUID, key: bytes | bytearray, context: bytes) -> bytes:
        """AES-256-GCM under the epoch's key (made on first use), bound to `context`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = AESGCM(self._load_or_make(self._file(epoch)))
        return nonce + cipher.encrypt(nonce, bytes(key), context)

    def unwrap(self, epoch: UUID, wrapped: bytes, context: bytes) -> bytearray:
        """The key again, in a buffer that the caller wipes."""
        try:
            wrapping_key = self._file(epoch).read_bytes()
        except FileNotFoundError as error:
            raise WrappingKeyError(
                f"The wrapping key of turn {epoch} is gone, so its keys are erased for good.",
                next_step="Burn the keys of that turn; the next turn makes new ones.",
            ) from error
        try:
            plain = AESGCM(wrapping_key).decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context
            )
        except InvalidTag as error:
            raise WrappingKeyError(
                f"A wrapped key of turn {epoch} was altered in the database.",
                next_step="Burn the keys of that turn and look for who changed the database.",
            ) from error
        return bytearray(plain)

    def fingerprint(self, link: str, key: bytes | bytearray) -> bytes:
        """A keyed fingerprint: equal keys show, nothing else does."""
        mac = hmac.new(self._fingerprint_secret, link.encode() + b"\0", hashlib.sha256)
        mac.update(key)
        return mac.digest()

    def epochs(self) -> set[UUID]:
        """The epochs whose wrapping keys still exist."""
        return {UUID(file.stem) for file in self._folder.glob("*.key")}

    def destroy(self, epoch: UUID) -> None:
        """Overwrite and remove the epoch's wrapping key."""
        file = self._file(epoch)
        try:
            with file.open("r+b") as handle:
                handle.write(secrets.token_bytes(32))
                handle.flush()
                os.fsync(handle.fileno())
            file.unlink()
        except FileNotFoundError:
            return

    def _file(self, epoch: UUID) -> Path:
        return self._folder / f"{epoch}.key"

    def _load_or_make(self, file: Path) -> bytes:
        try:
            return file.read_bytes()
        except FileNotFoundError:
            pass
        # Whole or not at all, also when two threads or a crash meet here.
        draft = file.with_suffix(f".{secrets.token_hex(4)}.draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(secrets.token_bytes(32))
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return file.read_bytes()
