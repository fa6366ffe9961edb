"""`/api/v1/data-centres` and `/health`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from nfv_stack.contract.errors import SlaveError
from nfv_stack.contract.schemas import CapacityView
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.schedule.service import ScheduleService
from sdn_client.drivers.port import CircuitDriver


class DataCentreView(BaseModel):
    name: str
    link: str
    end_point: str
    reachable: bool
    vim: dict[str, Any] | None = None
    detail: str = ""
    heard_at: datetime | None = None
    """When it answered last."""
    unreachable_since: datetime | None = None


class HealthView(BaseModel):
    status: str
    switches: dict[str, bool]
    schedule_leads: bool


def infrastructure_router(
    data_centres: DataCentres,
    driver: CircuitDriver,
    schedule: ScheduleService,
) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["infrastructure"])

    @router.get("/data-centres")
    def all_data_centres() -> list[DataCentreView]:
        return [_data_centre_view(data_centre) for data_centre in data_centres.all()]

    @router.get("/data-centres/{name}")
    def data_centre(name: str) -> DataCentreView:
        return _data_centre_view(data_centres.named(name))

    @router.get("/data-centres/{name}/capacity")
    def capacity(name: str) -> CapacityView:
        """What its VIM has and what is taken of it."""
        return data_centres.named(name).slave.capacity()

    @router.get("/health")
    def health() -> HealthView:
        switches = {name: state.connected for name, state in driver.chassis_states().items()}
        return HealthView(
            status="ok" if all(switches.values()) else "degraded",
            switches=switches,
            schedule_leads=schedule.leads,
        )

    return router


def _data_centre_view(data_centre: DataCentre) -> DataCentreView:
    try:
        vim = data_centre.slave.data_centre().vim.model_dump(mode="json")
        detail = ""
    except SlaveError as error:
        vim, detail = None, error.detail
    return DataCentreView(
        name=data_centre.name,
        link=data_centre.link,
        end_point=data_centre.end_point,
        reachable=vim is not None,
        vim=vim,
        detail=detail,
        heard_at=data_centre.slave.contact.heard_at,
        unreachable_since=data_centre.slave.contact.lost_at,
    )
