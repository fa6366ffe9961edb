"""`/api/v1/circuits`, `/api/v1/network` and the topology in the shape of RFC 8345."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from orchestrator.accounts.identity import asking
from orchestrator.audit.subjects import name_subjects
from orchestrator.network.manual import ADOPTED, ManualCircuits
from orchestrator.network.owner_names import OwnerNames
from orchestrator.rest.network_views import (
    CircuitsView,
    CircuitView,
    DriftView,
    NetworkView,
    PathView,
    circuit_view,
    drift_view,
    network_view,
    path_view,
    port_states,
)
from sdn_client.circuits import CircuitService
from sdn_client.drivers.port import CircuitDriver
from sdn_client.ledger import Circuit, Purpose
from sdn_client.topology import BandwidthClass, Topology, rfc8345
from sdn_client.upkeep import CircuitUpkeep

ElementName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
OwnerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,62})$")]

_NOBODY = "nobody"
YANG_DATA = "application/yang-data+json"


class CircuitRequest(BaseModel):
    """A circuit between two end points; a node's name stands for any of its end points."""

    model_config = ConfigDict(extra="forbid")

    from_end_point: ElementName
    to_end_point: ElementName
    purpose: Purpose = Purpose.IMAGE_TRANSFER
    bandwidth_class: BandwidthClass | None = None
    lifetime_s: float | None = Field(default=None, gt=0, le=366 * 86_400)
    owner: OwnerName | None = None
    """Who wants it; whoever asks, where nothing is said."""


class RepairRequest(BaseModel):
    """`devices`: make the device hold what is owned; `records`: believe what it holds."""

    model_config = ConfigDict(extra="forbid")

    chassis: ElementName
    change: Literal["devices", "records"] = "devices"


class RepairView(BaseModel):
    removed: list[str] = Field(default_factory=list)
    remade: list[str] = Field(default_factory=list)
    given_up: list[UUID] = Field(default_factory=list)
    adopted: list[UUID] = Field(default_factory=list)
    drift: list[DriftView]


def network_router(
    circuits: CircuitService,
    manual: ManualCircuits,
    upkeep: CircuitUpkeep,
    driver: CircuitDriver,
    topology: Topology,
    names: OwnerNames,
) -> APIRouter:
    router = APIRouter(tags=["network"])
    router.include_router(_circuits_router(circuits, manual, driver, names), prefix="/api/v1")
    router.include_router(
        _network_router(circuits, upkeep, driver, topology), prefix="/api/v1/network"
    )

    @router.get("/restconf/data/ietf-network:networks")
    def networks() -> JSONResponse:
        """The network in the shape of RFC 8345, with the ports' states as the controller says."""
        states = port_states(driver.chassis_states())
        return JSONResponse(rfc8345.document(topology, states), media_type=YANG_DATA)

    return router


def _circuits_router(
    circuits: CircuitService, manual: ManualCircuits, driver: CircuitDriver, names: OwnerNames
) -> APIRouter:
    router = APIRouter()

    def view(circuit: Circuit) -> CircuitView:
        (told,) = names.circuits([circuit])
        return circuit_view(told, driver.chassis_states())

    @router.get("/circuits")
    def all_circuits() -> CircuitsView:
        states = driver.chassis_states()
        return CircuitsView(
            circuits=[circuit_view(each, states) for each in names.circuits(circuits.circuits())],
            waiting=names.told(waiting.owner for waiting in circuits.waiting()),
        )

    @router.post("/circuits", status_code=201)
    def connect(request: CircuitRequest) -> CircuitView:
        """Answers when the switch's own table shows it; or an error, and nothing is left."""
        who = asking()
        made = manual.connect(
            request.from_end_point,
            request.to_end_point,
            request.purpose,
            name=request.owner or (who.name if who else _NOBODY),
            bandwidth=request.bandwidth_class,
            lifetime_s=request.lifetime_s,
        )
        name_subjects(circuit_id=made.id)
        return view(made)

    @router.get("/circuits/{circuit_id}")
    def circuit(circuit_id: UUID) -> CircuitView:
        return view(manual.named(circuit_id))

    @router.delete(
        "/circuits/{circuit_id}",
        status_code=204,
        responses={202: {"description": "The switch has not confirmed yet."}},
    )
    def disconnect(circuit_id: UUID, response: Response) -> None:
        """Circuits of operations and turns are theirs (409). 202 when the switch has not confirmed:
        the circuit stays `releasing` until it does."""
        if not manual.disconnect(circuit_id):
            response.status_code = 202

    return router


def _network_router(
    circuits: CircuitService, upkeep: CircuitUpkeep, driver: CircuitDriver, topology: Topology
) -> APIRouter:
    router = APIRouter()

    @router.get("")
    def network() -> NetworkView:
        return network_view(topology, driver.chassis_states(), circuits.circuits())

    @router.get("/paths")
    def paths(
        from_end_point: ElementName,
        to_end_point: ElementName,
        purpose: Purpose = Purpose.IMAGE_TRANSFER,
        alternatives: Annotated[int, Query(ge=1, le=16)] = 1,
        bandwidth_class: BandwidthClass | None = None,
    ) -> list[PathView]:
        """Paths on an idle network, best first; nothing is reserved."""
        budget_db = topology.quantum_loss_budget_db if purpose is Purpose.QUANTUM_TURN else None
        found = circuits.alternatives(
            from_end_point, to_end_point, purpose, at_most=alternatives, bandwidth=bandwidth_class
        )
        return [path_view(path, budget_db) for path in found]

    @router.get("/drift")
    def drift(look: bool = True) -> list[DriftView]:
        """What devices hold beside what we believe; without `look`, as last seen."""
        return [drift_view(one) for one in (upkeep.look() if look else upkeep.last_seen)]

    @router.post("/drift/repair")
    def repair(request: RepairRequest) -> RepairView:
        topology.chassis_named(request.chassis)
        if request.change == "devices":
            report = circuits.reconcile(request.chassis)
            changed: dict[str, Any] = {
                "removed": [str(x) for x in report.removed],
                "remade": [str(x) for x in report.remade],
            }
        else:
            adoption = upkeep.adopt(request.chassis, ADOPTED)
            changed = {"given_up": adoption.given_up, "adopted": adoption.adopted}
        return RepairView(**changed, drift=[drift_view(one) for one in upkeep.look()])

    return router
