"""The unit's log file, line for line as drivers parse it (idq3p/PROTOCOL.md, last section)."""

from __future__ import annotations

import logging
import logging.handlers
import time
from pathlib import Path
from typing import Final

FILE_NAME: Final = "qkdsequence.log"
_LEVELS: Final = {logging.INFO: "INFO", logging.WARNING: "WARN", logging.ERROR: "ERROR"}


class _VendorFormat(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        when = self.formatTime(record, "%Y-%m-%d %H:%M:%S")
        level = _LEVELS.get(record.levelno, record.levelname)
        # One line each, whatever a text holds: drivers read lines.
        return f"{when} {level} {record.getMessage()}".replace("\n", " ")


class UnitLog:
    """Writes `YYYY-MM-DD HH:MM:SS LEVEL Module: text` (UTC), rotating by size."""

    def __init__(self, directory: Path, *, max_octets: int = 4 * 1024 * 1024) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / FILE_NAME
        self._handler = logging.handlers.RotatingFileHandler(
            self.path, maxBytes=max_octets, backupCount=3, encoding="utf-8"
        )
        self._handler.setFormatter(_VendorFormat())
        # A logger of its own, outside the tree: these lines are the unit's, not the process's.
        self._logger = logging.Logger("clavis2")
        self._logger.addHandler(self._handler)

    def info(self, module: str, text: str) -> None:
        self._logger.info("%s: %s", module, text)

    def warn(self, module: str, text: str) -> None:
        self._logger.warning("%s: %s", module, text)

    def error(self, module: str, text: str) -> None:
        self._logger.error("%s: %s", module, text)

    def close(self) -> None:
        self._handler.close()
