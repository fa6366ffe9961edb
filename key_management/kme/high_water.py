"""How many deliveries there were, kept outside the database: an old backup of it shows.

A restored database would deliver again what it does not remember to have delivered. The mark lies
in a file beside the wrapping keys, which are never backed up together with the database.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path


class HighWaterMark:
    """A number in a file that only grows. Thread-safe; one process has it."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        written = os.pread(self._descriptor, 64, 0).strip()
        self._value = int(written) if written.isdigit() else 0

    @property
    def value(self) -> int:
        return self._value

    def raise_to(self, value: int) -> None:
        """On the disk when this returns."""
        with self._lock:
            if value <= self._value:
                return
            os.pwrite(self._descriptor, f"{value:020d}\n".encode(), 0)
            os.fsync(self._descriptor)
            self._value = value

    def close(self) -> None:
        os.close(self._descriptor)
