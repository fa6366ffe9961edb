"""`/data-centres`: each VIM, what it has, and whether its stack answers."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from nfv_stack.contract.contact import Contact
from nfv_stack.contract.errors import SlaveError
from nfv_stack.contract.schemas import CapacityView, VimView
from orchestrator.datacentres.registry import DataCentre
from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms
from orchestrator.vnf_lcm.states import DeploymentState

_ASKED_AT_ONCE = 8


@dataclass(frozen=True)
class ListedDataCentre:
    """What is known here, and what its stack said when it was asked just now."""

    data_centre: DataCentre
    keys: int
    deployments: int
    """Of ours, without those that are gone."""
    vim: VimView | None = None
    capacity: CapacityView | None = None
    problem: SlaveError | None = None
    """Why its stack, or the VIM behind it, told nothing."""

    @property
    def contact(self) -> Contact:
        return self.data_centre.slave.contact


class DataCentresView:
    """A whole page does not wait for the data centres: its block asks them at once."""

    def __init__(self, rooms: Rooms, *, is_asked: bool) -> None:
        self._rooms = rooms
        self.is_asked = is_asked

    @cached_property
    def data_centres(self) -> list[ListedDataCentre]:
        known = [self._known(data_centre) for data_centre in self._rooms.data_centres.all()]
        if not self.is_asked or not known:
            return known
        with ThreadPoolExecutor(min(_ASKED_AT_ONCE, len(known))) as pool:
            return list(pool.map(_asked, known))

    @cached_property
    def _running(self) -> Counter[str]:
        gone = (DeploymentState.REMOVED, DeploymentState.FAILED)
        rows = self._rooms.records.deployments()
        return Counter(row.data_centre for row in rows if row.state not in gone)

    def _known(self, data_centre: DataCentre) -> ListedDataCentre:
        return ListedDataCentre(
            data_centre,
            keys=self._rooms.keys.level(data_centre.link),
            deployments=self._running[data_centre.name],
        )


def _asked(known: ListedDataCentre) -> ListedDataCentre:
    slave = known.data_centre.slave
    vim, capacity, problem = None, None, None
    try:
        vim = slave.data_centre().vim
        capacity = slave.capacity()
    except SlaveError as error:
        problem = error
    return ListedDataCentre(
        known.data_centre, known.keys, known.deployments, vim, capacity, problem
    )


def data_centres_page_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/data-centres")
    def data_centres(request: Request) -> HTMLResponse:
        is_asked = "hx-request" in request.headers
        return pages.answer(request, "data_centres.html", DataCentresView(rooms, is_asked=is_asked))

    return router
