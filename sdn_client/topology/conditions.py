"""What a topology must not contradict itself in: conditions over several tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sdn_client.topology.model import PortRef, Topology


@dataclass(frozen=True)
class Fault:
    """A contradiction: in which table, which of its rows, which key, and what is wrong."""

    table: str
    index: int
    name: str
    key: str
    condition: str


def faults(topology: Topology) -> Iterator[Fault]:
    """Every contradiction. Later checks rest on earlier ones, so the first group ends the search
    when it finds something."""
    first = [
        *_name_faults(topology),
        *_switch_faults(topology),
        *_reference_faults(topology),
    ]
    yield from first
    if not first:
        yield from _partition_faults(topology)
        yield from _attachment_faults(topology)


def _name_faults(topology: Topology) -> Iterator[Fault]:
    tables: dict[str, tuple[Any, ...]] = {
        "nodes": topology.nodes,
        "chassis": topology.chassis,
        "virtual_switches": topology.virtual_switches,
        "fibres": topology.fibres,
        "end_points": topology.end_points,
    }
    for table, rows in tables.items():
        seen: set[str] = set()
        for index, row in enumerate(rows):
            if row.name in seen:
                yield Fault(table, index, row.name, "name", "the name is used twice")
            seen.add(row.name)
    node_names = {n.name for n in topology.nodes}
    for index, end_point in enumerate(topology.end_points):
        if end_point.name in node_names:
            condition = "a node has the same name; both name ends of circuits"
            yield Fault("end_points", index, end_point.name, "name", condition)


def _switch_faults(topology: Topology) -> Iterator[Fault]:
    datapaths: set[int] = set()
    for index, chassis in enumerate(topology.chassis):
        if chassis.datapath_id in datapaths:
            condition = "another chassis has the same datapath_id"
            yield Fault("chassis", index, chassis.name, "datapath_id", condition)
        datapaths.add(chassis.datapath_id)
        if chassis.ingress_ports is not None and chassis.ingress_ports >= chassis.ports:
            condition = f"ingress_ports must be below ports ({chassis.ports})"
            yield Fault("chassis", index, chassis.name, "ingress_ports", condition)
    for index, switch in enumerate(topology.virtual_switches):
        if foreign := sorted(switch.reserved_ports - switch.ports):
            condition = f"reserves port {foreign[0]}, which is not one of its ports"
            yield Fault("virtual_switches", index, switch.name, "reserved_ports", condition)
        if switch.datapath_id in datapaths:
            condition = "another switch has the same datapath_id"
            yield Fault("virtual_switches", index, switch.name, "datapath_id", condition)
        if switch.datapath_id is not None:
            datapaths.add(switch.datapath_id)


def _reference_faults(topology: Topology) -> Iterator[Fault]:
    nodes = {n.name for n in topology.nodes}
    end_points = {e.name for e in topology.end_points}
    for index, switch in enumerate(topology.virtual_switches):
        problems = (
            _port_condition(topology, PortRef(switch.chassis, port))
            for port in sorted(switch.ports)
        )
        if problem := next(filter(None, problems), None):
            yield Fault("virtual_switches", index, switch.name, "ports", problem)
    for index, end_point in enumerate(topology.end_points):
        if end_point.node not in nodes:
            condition = f"unknown node {end_point.node!r}"
            yield Fault("end_points", index, end_point.name, "node", condition)
        if end_point.port and (problem := _port_condition(topology, end_point.port)):
            yield Fault("end_points", index, end_point.name, "port", problem)
    for index, fibre in enumerate(topology.fibres):
        for key, end in (("a", fibre.a), ("b", fibre.b)):
            if isinstance(end, PortRef):
                problem = _port_condition(topology, end)
            else:
                problem = None if end in end_points else f"unknown end point {end!r}"
            if problem:
                yield Fault("fibres", index, fibre.name, key, problem)


def _port_condition(topology: Topology, port: PortRef) -> str | None:
    """Why `port` cannot exist, or None."""
    chassis = next((c for c in topology.chassis if c.name == port.chassis), None)
    if chassis is None:
        return f"unknown chassis {port.chassis!r}"
    if not 1 <= port.port <= chassis.ports:
        return f"{port} does not exist: {port.chassis} has ports 1 to {chassis.ports}"
    return None


def _partition_faults(topology: Topology) -> Iterator[Fault]:
    holder: dict[PortRef, str] = {}
    for index, switch in enumerate(topology.virtual_switches):
        for number in sorted(switch.ports):
            port = PortRef(switch.chassis, number)
            if port in holder:
                condition = f"port {port} already belongs to {holder[port]!r}"
                yield Fault("virtual_switches", index, switch.name, "ports", condition)
            holder.setdefault(port, switch.name)
    for index, end_point in enumerate(topology.end_points):
        if end_point.port is not None and end_point.port not in holder:
            condition = f"port {end_point.port} is outside every partition"
            yield Fault("end_points", index, end_point.name, "port", condition)
    for index, fibre in enumerate(topology.fibres):
        for key, end in (("a", fibre.a), ("b", fibre.b)):
            if isinstance(end, PortRef) and end not in holder:
                condition = f"port {end} is outside every partition"
                yield Fault("fibres", index, fibre.name, key, condition)


def _attachment_faults(topology: Topology) -> Iterator[Fault]:
    plugged: dict[PortRef | str, str] = {}
    kinds = {e.name: e.kind for e in topology.end_points}
    for index, end_point in enumerate(topology.end_points):
        if end_point.port is None:
            continue
        if end_point.port in plugged:
            condition = f"port {end_point.port} is used twice: {plugged[end_point.port]} is there"
            yield Fault("end_points", index, end_point.name, "port", condition)
        plugged[end_point.port] = f"end point {end_point.name!r}"
        plugged[end_point.name] = f"port {end_point.port}"
    for index, fibre in enumerate(topology.fibres):
        if not any(isinstance(end, PortRef) for end in fibre.ends):
            condition = "one end at least must be a port"
            yield Fault("fibres", index, fibre.name, "a", condition)
        for key, end in (("a", fibre.a), ("b", fibre.b)):
            if end in plugged:
                what = "port" if isinstance(end, PortRef) else "end point"
                condition = f"{what} {end} is used twice: {plugged[end]} is there"
                yield Fault("fibres", index, fibre.name, key, condition)
            plugged[end] = f"fibre {fibre.name!r}"
            if isinstance(end, str) and not fibre.kind.admits(kinds[end]):
                condition = (
                    f"quantum and classical on one fibre: it is for {fibre.kind} light and"
                    f" {end!r} is {kinds[end]}"
                )
                yield Fault("fibres", index, fibre.name, "kind", condition)
    for index, end_point in enumerate(topology.end_points):
        if end_point.name not in plugged:
            condition = "is attached nowhere: give it a port, or name it as the end of a fibre"
            yield Fault("end_points", index, end_point.name, "", condition)
