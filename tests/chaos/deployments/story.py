"""What was done when, in one order, for whoever has to understand a difference."""

from __future__ import annotations

import threading
import time
from pathlib import Path


class Story:
    """Thread-safe; also in `file`, as it goes. `faults` are what must never be."""

    def __init__(self, seed: int, file: Path) -> None:
        self.seed = seed
        self._file = file
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self.faults: list[str] = []

    @property
    def at_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began_s

    def note(self, line: str) -> None:
        with self._lock:
            self._lines.append(f"{self.at_s:8.2f} s  {line}")
            with self._file.open("a") as file:
                file.write(f"{self._lines[-1]}\n")

    def fault(self, line: str) -> None:
        self.note(f"FAULT {line}")
        with self._lock:
            self.faults.append(line)

    def told(self) -> str:
        with self._lock:
            return "\n".join([f"seed {self.seed}", *self._lines])
