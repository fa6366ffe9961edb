"""Keys that wrap the ledger's keys: files outside the database, one an epoch.

Dropping such a file makes what it wrapped unreadable, also in the database's logs and backups;
this is the erasure that we can promise. What stays: copies that the operating system, the disk
and the Python process may still hold for a while.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from key_management.errors import WrappingKeyError

_NONCE_BYTES = 12
_GIVEN_UP = "given-up"


class WrappingKeys:
    """The wrapping keys of one store, in a folder that only its services may read.

    Several processes may share a store (a stack and a KME beside it): locks on the files keep them
    apart, and end with the process that holds them.
    """

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
        return self.opener()(epoch, wrapped, context)

    def opener(self) -> Callable[[UUID, bytes, bytes], bytearray]:
        """`unwrap` for many keys of few epochs: it reads each wrapping key once. Not to be kept."""
        ciphers: dict[UUID, AESGCM] = {}

        def unwrap(epoch: UUID, wrapped: bytes, context: bytes) -> bytearray:
            if epoch not in ciphers:
                ciphers[epoch] = self._cipher(epoch)
            try:
                plain = ciphers[epoch].decrypt(
                    wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context
                )
            except InvalidTag as error:
                raise WrappingKeyError(
                    f"A wrapped key of turn {epoch} was altered in the database.",
                    next_step="Burn the keys of that turn and look for who changed the database.",
                ) from error
            return bytearray(plain)

        return unwrap

    def _cipher(self, epoch: UUID) -> AESGCM:
        try:
            return AESGCM(self._file(epoch).read_bytes())
        except FileNotFoundError as error:
            raise WrappingKeyError(
                f"The wrapping key of turn {epoch} is gone, so its keys are erased for good.",
                next_step="Burn the keys of that turn; the next turn makes new ones.",
            ) from error

    def fingerprint(self, link: str, key: bytes | bytearray) -> bytes:
        """A keyed fingerprint: equal keys show, nothing else does."""
        mac = hmac.new(self._fingerprint_secret, link.encode() + b"\0", hashlib.sha256)
        mac.update(key)
        return mac.digest()

    def epochs(self) -> set[UUID]:
        """The epochs whose wrapping keys still exist; whatever else lies there is not ours."""
        return {epoch for file in self._folder.glob("*.key") if (epoch := _epoch_of(file))}

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def given_up(self) -> Path:
        """Where a person leaves an empty file to say that what is missing here is gone for good."""
        return self._folder / _GIVEN_UP

    @contextmanager
    def in_use(self, epoch: UUID) -> Iterator[None]:
        """Inside, nobody destroys the epoch's key (made on first use), in no process.

        For who wraps keys that do not stand in the database yet.
        """
        file = self._file(epoch)
        while True:
            self._load_or_make(file)
            try:
                descriptor = os.open(file, os.O_RDONLY)
            except FileNotFoundError:
                continue  # destroyed at this moment; a new one is made
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if os.fstat(descriptor).st_nlink:
                    yield
                    return
            finally:
                os.close(descriptor)

    def destroy_unless(self, epoch: UUID, alive: Callable[[], bool]) -> bool:
        """Overwrite and remove the epoch's key, unless it is in use or `alive`; False then.

        `alive` is asked while nobody can begin to use the key.
        """
        file = self._file(epoch)
        try:
            with file.open("r+b") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                if os.fstat(handle.fileno()).st_nlink == 0 or alive():
                    return False
                handle.write(secrets.token_bytes(32))
                handle.flush()
                os.fsync(handle.fileno())
                file.unlink()
        except FileNotFoundError:
            return False
        return True

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


def _epoch_of(file: Path) -> UUID | None:
    try:
        epoch = UUID(file.stem)
    except ValueError:
        return None
    return epoch if file.stem == str(epoch) else None
