"""An alarm for each service that goes without the newest list of revoked certificates."""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.schedule.alarms import Alarms

log = structlog.get_logger(__name__)

KIND: Final = "revocations"


class RevocationAlarms:
    """Where the courier of lists says who has the newest one."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms

    def note(self, service: str, why: str | None) -> bool:
        """`why` is None for who has it. Whether it was noted."""
        subject = f"{service} ({KIND})"  # what becomes well again is a subject's only trouble
        try:
            if why is None:
                self._alarms.over(subject)
            else:
                detail = f"{service} has not the newest list of revoked certificates: {why}"
                self._alarms.raise_(KIND, subject, detail)
        except SQLAlchemyError as error:
            log.error("alarm about revoked certificates not noted", of=service, why=str(error))
            return False
        return True
