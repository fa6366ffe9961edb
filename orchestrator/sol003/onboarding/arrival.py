"""The content of one VNF package while it comes over one connection."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from orchestrator.sol003.errors import PackageBrokenOffError
from problem_details import ProblemError


class Arrival:
    """`end` it in any case. Not thread-safe."""

    def __init__(
        self,
        part: Path,
        limit_bytes: int,
        too_large: ProblemError,
        *,
        arrived: Callable[[int, bytes], None],
        broke_off: Callable[[ProblemError], None],
    ) -> None:
        """`arrived` gets the size and the SHA-256 digest of what is in the file `part` then.
        Raises OSError."""
        self._limit_bytes = limit_bytes
        self._too_large = too_large
        self._arrived = arrived
        self._broke_off = broke_off
        self._size = 0
        self._hasher = hashlib.sha256()
        self._is_whole = False
        self._file = part.open("wb")

    def write(self, piece: bytes) -> None:
        """Raises `too_large`, or PackageBrokenOffError where the disk does."""
        self._size += len(piece)
        if self._size > self._limit_bytes:
            raise self._too_large
        try:
            self._file.write(piece)
        except OSError as error:
            raise not_stored(error) from error
        self._hasher.update(piece)

    def whole(self) -> None:
        """Nothing more comes. Raises PackageBrokenOffError where nothing came, and what `arrived`
        does."""
        if self._size == 0:
            raise PackageBrokenOffError(
                "The package is empty.", next_step="Check the file, then upload it again."
            )
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise not_stored(error) from error
        self._arrived(self._size, self._hasher.digest())
        self._is_whole = True

    def end(self, error: BaseException | None) -> None:
        """Give up what did not come whole, because of `error`."""
        if self._is_whole:
            return
        with contextlib.suppress(OSError):  # a full disk refuses the rest of it once more
            self._file.close()
        self._broke_off(error if isinstance(error, ProblemError) else cut_off())


def not_stored(error: OSError) -> PackageBrokenOffError:
    return PackageBrokenOffError(
        f"The package cannot be stored: {error.strerror or error}.",
        next_step="Free space on the catalogue's disk, then upload it again.",
    )


def cut_off() -> PackageBrokenOffError:
    return PackageBrokenOffError(
        "The upload broke off before its end.", next_step="Upload the package again."
    )
