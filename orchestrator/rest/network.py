"""`/api/v1/circuits`, `/api/v1/network` and the topology in the shape of RFC 8345."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from orchestrator.accounts.identity import asking
from orchestrator.audit.subjects import name_subjects
from orchestrator.network.manual import ADOPTED, ManualCircuits
from sdn_client.circuits import CircuitService
from sdn_client.drift import ChassisDrift
from sdn_client.drivers.port import ChassisState, CircuitDriver
from sdn_client.ledger import Circuit, Purpose
from sdn_client.paths import LightPath
from sdn_client.topology import BandwidthClass, PortRef, Topology, rfc8345
from sdn_client.upkeep import CircuitUpkeep

ElementName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
OwnerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,62})$")]

States = Mapping[str, ChassisState]

_NOBODY = "nobody"
YANG_DATA = "application/yang-data+json"


class CircuitView(BaseModel):
    circuit_id: UUID
    purpose: Purpose
    state: str
    from_end_point: str
    to_end_point: str
    cross_connects: list[str]
    km: float
    loss_db: float
    bandwidth_class: BandwidthClass | None
    owners: list[str]
    until: dict[str, datetime]
    """Owners whose hold ends by itself."""
    established_at: datetime | None
    lost_at: list[str]
    """Ports of its path that are down or miss their light."""


class CircuitsView(BaseModel):
    circuits: list[CircuitView]
    waiting: list[str]
    """Owners that wait for free ports, first come first."""


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


class PathView(BaseModel):
    from_end_point: str
    to_end_point: str
    kind: str
    cross_connects: list[str]
    fibres: list[str]
    passages: int
    km: float
    loss_db: float
    passage_loss_db: float
    budget_db: float | None
    """Of quantum light."""


class ChassisView(BaseModel):
    name: str
    connected: bool
    fault: str
    ports: int
    ports_reported: int
    """By the device; 0 while it is away."""
    ports_down: list[int]
    ports_dark: list[int]


class VirtualSwitchView(BaseModel):
    name: str
    chassis: str
    owner: str
    ports: list[int]
    reserved_ports: list[int]
    ports_in_use: list[int]


class FibreView(BaseModel):
    name: str
    a: str
    b: str
    km: float
    loss_db: float
    kind: str
    state: Literal["ok", "lost", "unknown"]


class NetworkView(BaseModel):
    name: str
    quantum_loss_budget_db: float
    chassis: list[ChassisView]
    virtual_switches: list[VirtualSwitchView]
    fibres: list[FibreView]


class DriftView(BaseModel):
    chassis: str
    stray: list[str]
    missing: dict[str, UUID]
    """Cross-connects that the device lacks, and whose they are."""
    lost: dict[str, UUID]
    """Ports without light, and the circuits that pass them."""
    unread: str
    in_step: bool


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
) -> APIRouter:
    router = APIRouter(tags=["network"])
    router.include_router(_circuits_router(circuits, manual, driver), prefix="/api/v1")
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
    circuits: CircuitService, manual: ManualCircuits, driver: CircuitDriver
) -> APIRouter:
    router = APIRouter()

    def view(circuit: Circuit) -> CircuitView:
        return _circuit(circuit, driver.chassis_states())

    @router.get("/circuits")
    def all_circuits() -> CircuitsView:
        return CircuitsView(
            circuits=[view(circuit) for circuit in circuits.circuits()],
            waiting=[waiting.owner for waiting in circuits.waiting()],
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
        return _network(topology, driver.chassis_states(), circuits.circuits())

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
        return [_path(path, budget_db) for path in found]

    @router.get("/drift")
    def drift(look: bool = True) -> list[DriftView]:
        """What devices hold beside what we believe; without `look`, as last seen."""
        return [_drift(one) for one in (upkeep.look() if look else upkeep.last_seen)]

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
        return RepairView(**changed, drift=[_drift(one) for one in upkeep.look()])

    return router


# --- views ----------------------------------------------------------------------------------------


def port_states(states: States) -> dict[PortRef, str]:
    """`up`, `down` or `dark` for each port that a device reports; the rest is unknown."""
    return {
        PortRef(name, port): "down"
        if port in state.ports_down
        else "dark"
        if port in state.ports_dark
        else "up"
        for name, state in states.items()
        if state.connected
        for port in state.ports
    }


def _circuit(circuit: Circuit, states: States) -> CircuitView:
    lost = [
        str(port)
        for port in circuit.ports
        if port.chassis in states and port.port in states[port.chassis].unusable_ports
    ]
    return CircuitView(
        circuit_id=circuit.id,
        purpose=circuit.purpose,
        state=circuit.state.value,
        from_end_point=circuit.from_end_point,
        to_end_point=circuit.to_end_point,
        cross_connects=[str(x) for x in circuit.cross_connects],
        km=circuit.km,
        loss_db=round(circuit.loss_db, 3),
        bandwidth_class=circuit.bandwidth_class,
        owners=list(circuit.owners),
        until=dict(circuit.until),
        established_at=circuit.established_at,
        lost_at=lost,
    )


def _path(path: LightPath, budget_db: float | None) -> PathView:
    return PathView(
        from_end_point=path.from_end_point,
        to_end_point=path.to_end_point,
        kind=path.kind.value,
        cross_connects=[str(x) for x in path.cross_connects],
        fibres=list(path.fibres),
        passages=path.passages,
        km=path.km,
        loss_db=round(path.loss_db, 3),
        passage_loss_db=round(path.passage_loss_db, 3),
        budget_db=budget_db,
    )


def _drift(drift: ChassisDrift) -> DriftView:
    return DriftView(
        chassis=drift.chassis,
        stray=[str(x) for x in drift.stray],
        missing={str(x): circuit for x, circuit in drift.missing},
        lost={str(port): circuit for port, circuit in drift.lost},
        unread=drift.unread,
        in_step=drift.is_none,
    )


def _network(topology: Topology, states: States, circuits: list[Circuit]) -> NetworkView:
    in_use = {port for circuit in circuits for port in circuit.ports}
    known = port_states(states)
    return NetworkView(
        name=topology.name,
        quantum_loss_budget_db=topology.quantum_loss_budget_db,
        chassis=[
            ChassisView(
                name=one.name,
                connected=states[one.name].connected,
                fault=states[one.name].fault,
                ports=one.ports,
                ports_reported=len(states[one.name].ports),
                ports_down=sorted(states[one.name].ports_down),
                ports_dark=sorted(states[one.name].ports_dark),
            )
            for one in topology.chassis
        ],
        virtual_switches=[
            VirtualSwitchView(
                name=switch.name,
                chassis=switch.chassis,
                owner=switch.owner,
                ports=sorted(switch.ports),
                reserved_ports=sorted(switch.reserved_ports),
                ports_in_use=sorted(
                    p.port for p in in_use if topology.virtual_switch_of(p) is switch
                ),
            )
            for switch in topology.virtual_switches
        ],
        fibres=[
            FibreView(
                name=fibre.name,
                a=str(fibre.a),
                b=str(fibre.b),
                km=fibre.km,
                loss_db=round(fibre.loss_db, 3),
                kind=fibre.kind.value,
                state=_state_of_fibre([e for e in fibre.ends if isinstance(e, PortRef)], known),
            )
            for fibre in topology.fibres
        ],
    )


def _state_of_fibre(
    ports: list[PortRef], known: dict[PortRef, str]
) -> Literal["ok", "lost", "unknown"]:
    said = {known.get(port, "unknown") for port in ports}
    if "dark" in said:
        return "lost"
    return "unknown" if "unknown" in said else "ok"
