"""Throws abandoned uploads away."""

from __future__ import annotations

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.uploads.service import Uploads
from timekeeping import Clock

log = structlog.get_logger(__name__)
_LOOK_EVERY_S = 600.0


class UploadUpkeep:
    """A thread of its own."""

    def __init__(self, uploads: Uploads, clock: Clock) -> None:
        self._uploads = uploads
        self._clock = clock
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upload-upkeep", daemon=True)

    def start(self) -> None:
        self._uploads.settle()
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._clock.wait(self._closing, _LOOK_EVERY_S):
            try:
                expired = self._uploads.expire()
            except (SQLAlchemyError, OSError) as error:
                log.error("uploads cannot be thrown away", why=str(error))
                continue
            if expired:
                log.info("abandoned uploads thrown away", uploads=expired)
