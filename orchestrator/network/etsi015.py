"""QKD nodes as ETSI GS QKD 015 V2.1.1 describes them to an SDN controller: a read view.

A node is a site of the topology that has QKD units; each unit is an interface, whose attachment
point is the port of the optical switch; each pair of an Alice and a Bob is a physical link.

| the link | qkdl_status |
|---|---|
| Alice serves this Bob, and both generate | ACTIVE |
| its turn is connecting, standing by or initialising | PENDING |
| it waits for its turn, and keys are in store | PASSIVE |
| it waits for its turn, and no keys are left | PENDING |
| somebody excluded it | OFF |

Numbers with a fraction are texts, and identities carry their module's name (RFC 7951).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from qkd_scheduler.states import TurnState
from sdn_client.topology import EndPoint, LightKind, Topology

MODULE: Final = "etsi-qkd-sdn-node"
_TYPES: Final = "etsi-qkd-node-types:"
_VERSION: Final = "2.1.1"
_GENERATING: Final = frozenset({TurnState.GENERATING, TurnState.DRAINING})
_ROLES: Final = {
    "transmitter": "TRANSMITTER",
    "receiver": "RECEIVER",
    "transceiver": "TRANSCEIVER",
}
_WAVELENGTH_NM: Final = 1552
"""Of the paper's quantum channel."""


@dataclass(frozen=True)
class QkdLink:
    """What is known of one link now."""

    name: str
    alice: str
    bob: str
    level_keys: int
    demand_bps: float
    rate_bps: float
    """As measured when it was served last, or as the line's physics promise."""
    turn: TurnState | None
    """Of its present turn."""
    qber: float | None
    loss_db: float | None
    """Of its path; None while there is none."""
    excluded: bool = False

    @property
    def status(self) -> str:
        if self.excluded:
            return "OFF"
        if self.turn in _GENERATING:
            return "ACTIVE"
        return "PASSIVE" if self.turn is None and self.level_keys else "PENDING"


def node_ids(topology: Topology) -> dict[str, UUID]:
    """The `qkdn_id` of each site with QKD units; the same at every start."""
    sites = {e.node for e in topology.end_points if e.kind is LightKind.QUANTUM}
    return {name: _id(topology, "node", name) for name in sorted(sites)}


def qkd_node(
    topology: Topology, node: str, links: Iterable[QkdLink], failed: Mapping[str, str]
) -> dict[str, Any]:
    """The contents of `qkd_node` of one site; `failed` tells what is wrong with which chassis."""
    units = _units(topology, node)
    own = [link for link in links if units.keys() & {link.alice, link.bob}]
    is_down = any(topology.port_of(name).chassis in failed for name in units)
    return {
        "qkdn_id": str(node_ids(topology)[node]),
        "qkdn_status": _TYPES + ("DOWN" if is_down else "OPERATING"),
        "qkdn_version": _VERSION,
        "qkdn_location_id": node,
        "qkdn_capabilities": {
            "link_stats_support": True,
            "application_stats_support": False,
            "key_relay_mode_enable": len(own) > 1,
        },
        "qkd_applications": {"qkd_app": []},
        "qkd_interfaces": {
            "qkd_interface": [
                _interface(topology, units[name], number, failed)
                for name, number in _numbers(topology, node).items()
            ]
        },
        "qkd_links": {"qkd_link": [_link(topology, node, link) for link in own]},
    }


def _units(topology: Topology, node: str) -> dict[str, EndPoint]:
    return {
        e.name: e for e in topology.end_points if e.node == node and e.kind is LightKind.QUANTUM
    }


def _numbers(topology: Topology, node: str) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted(_units(topology, node)), 1)}


def _interface(
    topology: Topology, unit: EndPoint, number: int, failed: Mapping[str, str]
) -> dict[str, Any]:
    port = topology.port_of(unit.name)
    return {
        "qkdi_id": number,
        "qkdi_model": "ID3100 Clavis2",
        "qkdi_type": _TYPES + "DV-QKD-2Ws",
        "qkdi_att_point": {"device": port.chassis, "port": port.port},
        "qkdi_capabilities": {
            "role_support": _TYPES + _ROLES[unit.role],
            "max_absorption": f"{topology.quantum_loss_budget_db:.3f}",
        },
        "qkdi_status": _TYPES + ("FAILED" if port.chassis in failed else "ENABLED"),
    }


def _link(topology: Topology, node: str, link: QkdLink) -> dict[str, Any]:
    ids = node_ids(topology)
    here, there = link.alice, link.bob
    is_transmitter = here in _units(topology, node)
    if not is_transmitter:
        here, there = there, here

    def end(unit: str) -> dict[str, Any]:
        site = topology.end_point_named(unit).node
        return {"qkdn_id": str(ids[site]), "qkdi_id": _numbers(topology, site)[unit]}

    performance: dict[str, Any] = {
        "expected_consumption": round(link.demand_bps),
        "skr": round(link.rate_bps) if link.status == "ACTIVE" else 0,
    }
    if link.qber is not None:
        performance["phys_perf"] = [{"perf_type": _TYPES + "QBER", "value": f"{link.qber:.5f}"}]
    return {
        "qkdl_id": str(_id(topology, "link", link.name)),
        "qkdl_status": _TYPES + link.status,
        "qkdl_enable": not link.excluded,
        "qkdl_local": end(here),
        "qkdl_remote": end(there),
        "qkdl_type": _TYPES + "PHYS",
        "qkdl_applications": [],
        **({} if link.loss_db is None else {"phys_channel_att": f"{link.loss_db:.3f}"}),
        "phys_wavelength": _WAVELENGTH_NM,
        "phys_qkd_role": _TYPES + ("TRANSMITTER" if is_transmitter else "RECEIVER"),
        "qkdl_performance": performance,
    }


def _id(topology: Topology, what: str, name: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"urn:qnfv:{topology.name}:{what}:{name}")
