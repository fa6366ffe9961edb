"""`/api/v1/alarms`: what a person should look at."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from orchestrator.schedule.service import ScheduleService


class AlarmView(BaseModel):
    alarm_id: UUID
    kind: str
    subject: str
    """A link, or an Alice."""
    turn_id: UUID | None
    detail: str
    since: datetime
    last_at: datetime
    times: int
    over_at: datetime | None
    acknowledged_at: datetime | None


def alarms_router(schedule: ScheduleService) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["alarms"])

    @router.get("/alarms")
    def alarms(acknowledged: bool = False) -> list[AlarmView]:
        """Newest first; those that somebody acknowledged only where asked for."""
        rows = schedule.alarms(acknowledged=acknowledged)
        return [AlarmView.model_validate(row, from_attributes=True) for row in rows]

    @router.post("/alarms/{alarm_id}/acknowledge")
    def acknowledge(alarm_id: UUID) -> AlarmView:
        return AlarmView.model_validate(schedule.acknowledge(alarm_id), from_attributes=True)

    return router
