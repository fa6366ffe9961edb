"""Which packages some process takes in at this moment: a lock on a file for each.

Orchestrators that share a folder so leave each other's packages alone; what one of them had in hand
when it died is free at once.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from uuid import UUID


class InHand:
    """The packages of one process. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._held: dict[UUID, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, package_id: UUID) -> bool:
        """Whether it is ours now; False while another process has it. Raises OSError."""
        with self._lock:
            if package_id in self._held:
                return True
            descriptor = os.open(self._file(package_id), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._held[package_id] = descriptor
            return True

    def leave(self, package_id: UUID) -> None:
        """Nothing is done with it here any more."""
        with self._lock:
            descriptor = self._held.pop(package_id, None)
        if descriptor is not None:
            os.close(descriptor)

    def forget(self, package_id: UUID) -> None:
        """It was deleted, or never was."""
        self.leave(package_id)
        self._file(package_id).unlink(missing_ok=True)

    def _file(self, package_id: UUID) -> Path:
        return self._folder / str(package_id)
