"""Documents of the optical network: circuits, devices, fibres, paths, drift."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from sdn_client.drift import ChassisDrift
from sdn_client.drivers.port import ChassisState
from sdn_client.ledger import Circuit, Purpose
from sdn_client.paths import LightPath
from sdn_client.topology import BandwidthClass, PortRef, Topology

States = Mapping[str, ChassisState]


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


def circuit_view(circuit: Circuit, states: States) -> CircuitView:
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


def path_view(path: LightPath, budget_db: float | None) -> PathView:
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


def drift_view(drift: ChassisDrift) -> DriftView:
    return DriftView(
        chassis=drift.chassis,
        stray=[str(x) for x in drift.stray],
        missing={str(x): circuit for x, circuit in drift.missing},
        lost={str(port): circuit for port, circuit in drift.lost},
        unread=drift.unread,
        in_step=drift.is_none,
    )


def network_view(topology: Topology, states: States, circuits: list[Circuit]) -> NetworkView:
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
