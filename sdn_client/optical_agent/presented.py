"""Which ports the agent shows to the controller, and as what."""

from __future__ import annotations

from dataclasses import dataclass

from sdn_client.drivers.port import ChassisState
from sdn_client.errors import TopologyError
from sdn_client.openflow13 import constants as c
from sdn_client.openflow13.structures import Port
from sdn_client.topology import Topology

_FIBRE = c.FEATURE_FIBRE | c.FEATURE_OTHER


@dataclass(frozen=True)
class PresentedSwitch:
    """A chassis, or one virtual switch of it, as one OpenFlow switch with the chassis' port
    numbers."""

    name: str
    chassis: str
    datapath_id: int
    ports: frozenset[int]

    def port_descriptions(self, state: ChassisState) -> tuple[Port, ...]:
        """Every presented port that the device has, by number."""
        return tuple(self._describe(n, state) for n in sorted(self.ports & state.ports))

    def _describe(self, number: int, state: ChassisState) -> Port:
        suffix = f"-p{number}"
        address = bytes([2]) + (self.datapath_id & 0xFFFFFF).to_bytes(3, "big")
        return Port(
            number,
            self.name[: 15 - len(suffix)] + suffix,
            address + number.to_bytes(2, "big"),
            config=c.CONFIG_PORT_DOWN if number in state.ports_down else 0,
            state=c.STATE_LINK_DOWN if number in state.unusable_ports else c.STATE_LIVE,
            curr=_FIBRE,
            supported=_FIBRE,
        )


def present(topology: Topology, chassis: str, virtual_switch: str | None) -> PresentedSwitch:
    """The switch that the settings name. Raises UnknownName or TopologyError."""
    whole = topology.chassis_named(chassis)
    if virtual_switch is None:
        ports = frozenset(range(1, whole.ports + 1))
        return PresentedSwitch(whole.name, whole.name, whole.datapath_id, ports)
    mine = [v for v in topology.virtual_switches if v.chassis == chassis]
    for part in mine:
        if part.name == virtual_switch:
            if part.datapath_id is None:
                raise TopologyError(
                    f"The virtual switch {part.name} has no datapath_id, so no controller can tell"
                    " it from others.",
                    next_step="Give it a datapath_id in the topology file.",
                )
            return PresentedSwitch(part.name, chassis, part.datapath_id, part.ports)
    raise TopologyError(
        f"{chassis} has no virtual switch named {virtual_switch!r}.",
        next_step=f"Known: {', '.join(sorted(v.name for v in mine))}.",
    )
