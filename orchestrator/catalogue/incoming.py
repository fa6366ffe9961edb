"""Files of images that are being taken in, by orchestrators that may share the folder."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_HAND = ".in-hand"


class Incoming:
    """Thread-safe. A lock on a file tells what somebody takes in now; it ends with its process."""

    def __init__(self, folder: Path) -> None:
        """Removes what crashes left, whosever it was."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for file in list(folder.iterdir()):
            if not _is_locked(file.with_suffix(_IN_HAND)):
                file.unlink(missing_ok=True)

    @contextmanager
    def files(self) -> Iterator[tuple[Path, Path]]:
        """Names for an image as it comes and in its normal form; after this neither is there."""
        raw = self._folder / f"{secrets.token_hex(8)}.raw"
        normal, in_hand = raw.with_suffix(".normal"), raw.with_suffix(_IN_HAND)
        descriptor = _lock(in_hand)
        try:
            yield raw, normal
        finally:
            for file in (raw, normal, in_hand):
                file.unlink(missing_ok=True)
            os.close(descriptor)


def _lock(file: Path) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # somebody who started just now took it for left over


def _is_locked(file: Path) -> bool:
    try:
        with file.open("r+b") as opened:  # NFS locks for writing only what is open for it
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
