"""`/`: what goes on now."""

from __future__ import annotations

from functools import cached_property

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms
from orchestrator.store.tables import AlarmRow
from orchestrator.vnf_lcm.schemas import OperationView
from orchestrator.vnf_lcm.states import ENDED

_OPERATIONS = 50


class Overview:
    """Each part is worked out when the page asks for it."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    @cached_property
    def alarms(self) -> list[AlarmRow]:
        return self._rooms.schedule.alarms()

    @cached_property
    def running(self) -> list[OperationView]:
        """Operations that have not ended, newest first."""
        operations = self._rooms.lifecycle.operations(_OPERATIONS)
        return [operation for operation in operations if operation.state not in ENDED]


def overview_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def overview(request: Request) -> HTMLResponse:
        return pages.answer(request, "overview.html", Overview(rooms))

    return router
