"""Throws abandoned uploads away."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.uploads.service import Uploads
from timekeeping import Clock, Rounds

log = structlog.get_logger(__name__)
_LOOK_EVERY_S = 600.0


class UploadUpkeep:
    """A thread of its own."""

    def __init__(self, uploads: Uploads, clock: Clock) -> None:
        self._uploads = uploads
        self._rounds = Rounds(
            "upload-upkeep", self._expire, clock, _LOOK_EVERY_S, pauses_first=True
        )

    def start(self) -> None:
        self._uploads.settle()
        self._rounds.start()

    def close(self) -> None:
        self._rounds.close(patience_s=10)

    def _expire(self) -> None:
        try:
            expired = self._uploads.expire()
        except (SQLAlchemyError, OSError) as error:
            log.error("uploads cannot be thrown away", why=str(error))
            return
        if expired:
            log.info("abandoned uploads thrown away", uploads=expired)
