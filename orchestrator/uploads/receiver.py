"""The bytes of an upload while they come."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from orchestrator.errors import ImageRefusedError
from orchestrator.uploads.errors import UploadOffsetError, UploadTooLargeError
from orchestrator.uploads.tables import UploadRow


@dataclass
class Desk:
    """Where one upload is worked on: by the newest of its connections alone."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    holder: Receiver | None = None


class Receiver:
    """One connection's bytes of an upload; `close` it in any case."""

    def __init__(
        self, desk: Desk, file: Path, row: UploadRow, offset: int, touch: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._touch = touch
        self._path = file
        self._file: FileIO | None = None
        self._size = row.size
        self.offset = offset

    def write(self, piece: bytes) -> None:
        """Raises UploadTooLargeError, UploadOffsetError where somebody else took over, and
        ImageRefusedError where the disk does."""
        if self.offset + len(piece) > self._size:
            raise UploadTooLargeError(
                f"More bytes come than the {self._size} that were announced.",
                next_step="Begin a new upload, with the size of the file as it is now.",
            )
        if not piece:  # asking again for the end: no file comes back that is in the catalogue
            return
        with self._desk.lock:
            if self._desk.holder is not self:
                raise UploadOffsetError(
                    "The upload goes on over another connection.",
                    next_step="Leave this one; HEAD tells how far it is.",
                )
            try:
                if self._file is None:
                    self._file = self._path.open("ab", buffering=0)
                rest = memoryview(piece)
                while rest:
                    written = self._file.write(rest)
                    self.offset += written
                    rest = rest[written:]
            except OSError as error:
                raise ImageRefusedError(
                    f"The upload cannot be stored: {error.strerror or error}.",
                    next_step="Free space on the catalogue's disk, then go on.",
                ) from error

    def close(self) -> None:
        """What was written survives a crash from now on, and is kept its full time."""
        try:
            if self._file is not None:
                with self._file:
                    os.fsync(self._file.fileno())
        finally:
            with self._desk.lock:
                if self._desk.holder is self:
                    self._desk.holder = None
                    self._touch()
