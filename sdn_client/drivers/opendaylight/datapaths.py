"""Which OpenFlow switches a chassis is, as OpenDaylight sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sdn_client.drivers.opendaylight.documents import NodeSeen
from sdn_client.drivers.port import ChassisState
from sdn_client.errors import SwitchRefused
from sdn_client.topology import Chassis, CrossConnect, Topology


@dataclass(frozen=True)
class Datapath:
    """One switch: a whole chassis, or one virtual switch of it with the chassis' port numbers."""

    name: str
    chassis: str
    node_id: str
    ports: frozenset[int]


@dataclass(frozen=True)
class Presentation:
    """A chassis and the switches as which it presents itself."""

    chassis: Chassis
    datapaths: tuple[Datapath, ...]

    def datapath_for(self, cross_connect: CrossConnect) -> Datapath:
        """The switch to ask for `cross_connect`; that it says no to ports elsewhere is its job.

        Raises SwitchRefused when no switch has one of the ports.
        """
        if len(self.datapaths) == 1:
            return self.datapaths[0]
        for port in (cross_connect.in_port, cross_connect.out_port):
            for datapath in self.datapaths:
                if port in datapath.ports:
                    return datapath
        raise SwitchRefused(
            f"{self.chassis.name} presents no switch with a port of {cross_connect}.",
            next_step="Give the virtual switch of that port a datapath_id, or use other ports.",
        )

    def state(self, nodes: Mapping[str, NodeSeen]) -> ChassisState:
        """What the chassis is when OpenDaylight reports `nodes`: connected when all switches are
        there with the ports of the topology file."""
        seen = {d: nodes[d.node_id] for d in self.datapaths if d.node_id in nodes}
        faults = [fault for d, node in seen.items() if (fault := _port_fault(d, node))]
        is_there = len(seen) == len(self.datapaths)
        if seen and not is_there:
            missing = ", ".join(d.name for d in self.datapaths if d not in seen)
            faults.append(f"of {self.chassis.name}, OpenDaylight does not see {missing}")
        return ChassisState(
            is_there and not faults,
            "; ".join(faults),
            frozenset[int]().union(*(n.ports for n in seen.values())),
            frozenset[int]().union(*(n.ports_down for n in seen.values())),
            frozenset[int]().union(*(n.ports_dark for n in seen.values())),
        )


def present(topology: Topology) -> dict[str, Presentation]:
    """How every chassis of `topology` presents itself, by name."""
    return {chassis.name: _present(topology, chassis) for chassis in topology.chassis}


def _present(topology: Topology, chassis: Chassis) -> Presentation:
    parts = tuple(
        Datapath(v.name, chassis.name, _node_id(v.datapath_id), v.ports)
        for v in topology.virtual_switches
        if v.chassis == chassis.name and v.datapath_id is not None
    )
    whole = Datapath(
        chassis.name,
        chassis.name,
        _node_id(chassis.datapath_id),
        frozenset(range(1, chassis.ports + 1)),
    )
    return Presentation(chassis, parts or (whole,))


def _node_id(datapath_id: int) -> str:
    return f"openflow:{datapath_id}"


def _port_fault(datapath: Datapath, node: NodeSeen) -> str:
    if node.ports == datapath.ports:
        return ""
    return (
        f"the topology file gives {datapath.name} the ports {ranges(datapath.ports)},"
        f" OpenDaylight reports {ranges(node.ports)}"
    )


def ranges(ports: frozenset[int]) -> str:
    """`1-8, 10` for a person."""
    spans: list[list[int]] = []
    for port in sorted(ports):
        if spans and port == spans[-1][1] + 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    return ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in spans) or "none"
