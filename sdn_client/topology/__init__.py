"""The optical network as one file: nodes, chassis, virtual switches, fibres, end points.

The file adds what no controller can know: which fibre is plugged where, how long it is, which kind
of light it carries. Chassis ports count from 1. A port is written `chassis:port`, for example
`polatis-1:17`. The file is TOML (`toml_file`), or JSON in the shape of RFC 8345 (`rfc8345`).

A *virtual switch* is a named set of ports of one chassis with an owner. A cross-connect joins two
ports of one virtual switch and is one *passage*; passing several virtual switches costs one
passage each.

    topology = load_topology(Path("topology.toml"))
    topology.facing(PortRef("polatis-1", 2))   # what light leaving that port meets
"""

from sdn_client.topology.model import (
    FIBRE_LOSS_DB_PER_KM,
    BandwidthClass,
    Chassis,
    CrossConnect,
    EndPoint,
    Facing,
    Fibre,
    LightKind,
    Node,
    PortRef,
    Topology,
    VirtualSwitch,
)
from sdn_client.topology.reading import load_topology
from sdn_client.topology.toml_file import parse_topology

__all__ = [
    "FIBRE_LOSS_DB_PER_KM",
    "BandwidthClass",
    "Chassis",
    "CrossConnect",
    "EndPoint",
    "Facing",
    "Fibre",
    "LightKind",
    "Node",
    "PortRef",
    "Topology",
    "VirtualSwitch",
    "load_topology",
    "parse_topology",
]
