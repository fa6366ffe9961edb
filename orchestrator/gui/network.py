"""`/network`: circuits, devices and fibres, and where devices differ from what is owned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms
from orchestrator.network.manual import ManualCircuits
from orchestrator.rest.network_views import (
    CircuitView,
    DriftView,
    NetworkView,
    circuit_view,
    drift_view,
    network_view,
)
from sdn_client.ledger import Purpose
from sdn_client.topology import EndPoint


@dataclass(frozen=True)
class Standing:
    """A circuit, and whether people may end it."""

    circuit: CircuitView
    may_end: bool


class NetworkPage:
    """Each part is worked out when the page asks for it."""

    purposes = MappingProxyType(
        {Purpose.IMAGE_TRANSFER: "classical", Purpose.QUANTUM_TURN: "quantum"}
    )

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    @cached_property
    def network(self) -> NetworkView:
        circuits = self._rooms.circuits.circuits()
        return network_view(self._rooms.topology, self._rooms.driver.chassis_states(), circuits)

    @cached_property
    def circuits(self) -> list[Standing]:
        states = self._rooms.driver.chassis_states()
        circuits = self._rooms.circuits.circuits()
        named = self._rooms.owner_names.circuits(circuits)
        return [
            Standing(circuit_view(told, states), ManualCircuits.may_end(circuit))
            for circuit, told in zip(circuits, named, strict=True)
        ]

    @cached_property
    def waiting(self) -> list[str]:
        """Owners that wait for free ports, first come first."""
        owners = [waiting.owner for waiting in self._rooms.circuits.waiting()]
        return self._rooms.owner_names.told(owners)

    @cached_property
    def drift(self) -> list[DriftView]:
        """As at the last look, one for each chassis that differs."""
        seen = [drift_view(one) for one in self._rooms.circuit_upkeep.last_seen]
        return [one for one in seen if not one.in_step]

    @cached_property
    def end_points(self) -> tuple[EndPoint, ...]:
        return self._rooms.topology.end_points


def network_page_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/network")
    def network(request: Request) -> HTMLResponse:
        return pages.answer(request, "network.html", NetworkPage(rooms))

    return router
