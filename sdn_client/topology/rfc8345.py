"""The topology in the shape of RFC 8345: networks, nodes, termination points, links.

Two networks. `NAME-devices` holds the chassis and their ports; `NAME` rests on it
(`supporting-network`) and holds the virtual switches (each with its chassis as `supporting-node`,
its ports as termination points with a `supporting-termination-point`), the sites, whose termination
points are the end points, and the fibres as links. A link of RFC 8345 has one direction, a fibre
two: each is written as a link and its reverse, and read from the first. An end point that is
plugged straight into a port has a link that is a `patch`.

What RFC 8345 has no words for stands in containers of our module (qnfv-optical-topology.yang).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from sdn_client.topology.checking import checked, invalid
from sdn_client.topology.model import EndPoint, Fibre, PortRef, Topology, VirtualSwitch

OURS: Final = "qnfv-optical-topology:"
_TOPOLOGY: Final = "ietf-network-topology:"
_DEVICES: Final = "-devices"
_REVERSE: Final = "-reverse"
_PATCH: Final = "-patch"

PortStates = Mapping[PortRef, str]
"""What is known of each port: `up`, `down`, `dark` or `unknown`."""


# --- writing --------------------------------------------------------------------------------------


def document(topology: Topology, states: PortStates | None = None) -> dict[str, Any]:
    """`ietf-network:networks` of `topology`, JSON of RFC 7951; with the ports' states if given."""
    devices = topology.name + _DEVICES
    chassis = [
        {
            "node-id": one.name,
            OURS + "chassis": {
                "datapath-id": f"{one.datapath_id:016x}",
                "cross-connect-loss-db": _decimal(one.cross_connect_loss_db),
                "switching-time-ms": _decimal(one.switching_time_ms),
                **({"ingress-ports": one.ingress_ports} if one.ingress_ports else {}),
            },
            _TOPOLOGY + "termination-point": [
                _termination_point(PortRef(one.name, port), states)
                for port in range(1, one.ports + 1)
            ],
        }
        for one in topology.chassis
    ]
    nodes = [_virtual_switch(switch, devices) for switch in topology.virtual_switches]
    nodes += [_site(topology, node.name) for node in topology.nodes]
    overlay = {
        "network-id": topology.name,
        "network-types": {OURS + "optical": {}},
        "supporting-network": [{"network-ref": devices}],
        OURS + "quantum-loss-budget-db": _decimal(topology.quantum_loss_budget_db),
        "node": nodes,
        _TOPOLOGY + "link": _links(topology),
    }
    underlay = {
        "network-id": devices,
        "network-types": {OURS + "optical": {}},
        "node": chassis,
    }
    return {"ietf-network:networks": {"network": [underlay, overlay]}}


def _termination_point(port: PortRef, states: PortStates | None) -> dict[str, Any]:
    point: dict[str, Any] = {"tp-id": str(port.port)}
    if states is not None:
        point[OURS + "state"] = states.get(port, "unknown")
    return point


def _virtual_switch(switch: VirtualSwitch, devices: str) -> dict[str, Any]:
    datapath = {} if switch.datapath_id is None else {"datapath-id": f"{switch.datapath_id:016x}"}
    under = {"network-ref": devices, "node-ref": switch.chassis}
    return {
        "node-id": switch.name,
        "supporting-node": [under],
        OURS + "virtual-switch": {
            "owner": switch.owner,
            "reserved-ports": sorted(switch.reserved_ports),
            **datapath,
        },
        _TOPOLOGY + "termination-point": [
            {
                "tp-id": str(port),
                "supporting-termination-point": [{**under, "tp-ref": str(port)}],
            }
            for port in sorted(switch.ports)
        ],
    }


def _site(topology: Topology, name: str) -> dict[str, Any]:
    node = topology.node_named(name)
    return {
        "node-id": node.name,
        OURS + "site": {"title": node.title, "role": node.role},
        _TOPOLOGY + "termination-point": [
            {
                "tp-id": end.name,
                OURS + "end-point": {
                    "kind": end.kind.value,
                    "role": end.role,
                    "bandwidth-class": end.bandwidth_class.value,
                },
            }
            for end in topology.end_points
            if end.node == node.name
        ],
    }


def _links(topology: Topology) -> list[dict[str, Any]]:
    def place(end: PortRef | EndPoint) -> tuple[str, str]:
        if isinstance(end, EndPoint):
            return end.node, end.name
        switch = topology.virtual_switch_of(end)
        assert switch is not None  # a plugged port is in a partition, or the file is refused
        return switch.name, str(end.port)

    def both_ways(name: str, a: PortRef | EndPoint, b: PortRef | EndPoint, **more: Any) -> None:
        for id_, one, other in ((name, a, b), (name + _REVERSE, b, a)):
            (from_node, from_point), (to_node, to_point) = place(one), place(other)
            link = {
                "link-id": id_,
                "source": {"source-node": from_node, "source-tp": from_point},
                "destination": {"dest-node": to_node, "dest-tp": to_point},
            }
            links.append(link | more | ({OURS + "reverse-of": name} if id_ != name else {}))

    links: list[dict[str, Any]] = []
    for fibre in topology.fibres:
        ends = [e if isinstance(e, PortRef) else topology.end_point_named(e) for e in fibre.ends]
        both_ways(fibre.name, ends[0], ends[1], **{OURS + "fibre": _fibre(fibre)})
    for end in topology.end_points:
        if end.port is not None:
            both_ways(end.name + _PATCH, end, end.port, **{OURS + "patch": [None]})
    return links


def _fibre(fibre: Fibre) -> dict[str, Any]:
    return {
        "km": _decimal(fibre.km),
        "loss-db": _decimal(fibre.loss_db),
        "kind": fibre.kind.value,
    }


def _decimal(number: float) -> str:
    """A decimal64 of six fraction digits; RFC 7951 writes it as a text, so that none is lost."""
    text = f"{number:.6f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


# --- reading --------------------------------------------------------------------------------------


def parse(text: str, *, source: str = "topology") -> Topology:
    """The topology in `text`, a document like that of `document`. Raises TopologyError."""
    try:
        read = json.loads(text)
    except json.JSONDecodeError as error:
        raise invalid(source, [f"line {error.lineno}: not JSON: {error.msg}"]) from error
    except RecursionError as error:
        raise invalid(source, ["not JSON that can be read: nested too deep"]) from error
    places = _Places(text)
    try:
        tables = _Reader(read, places).tables()
    except _Shape as error:
        raise invalid(source, [str(error)]) from error
    return checked(tables, places, source)


class _Shape(Exception):
    """The document has not the shape of RFC 8345; the text says where."""


class _Places:
    """Finds the line on which the id of an element stands; json does not tell."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: dict[tuple[str, int], int] = {}

    def line_of(self, key: str, value: object) -> int:
        """The line of `"key": "value"`, 1 where there is none."""
        pattern = re.compile(re.escape(json.dumps(key)) + r"\s*:\s*" + re.escape(json.dumps(value)))
        found = pattern.search(self._text)
        return 1 if found is None else self._text.count("\n", 0, found.start()) + 1

    def note(self, table: str, index: int, line: int) -> None:
        self._lines[table, index] = line

    def of(self, table: str, index: int | None, key: str = "") -> int:  # noqa: ARG002
        return self._lines.get((table, index or 0), 1)


class _Reader:
    """Makes the tables of the TOML form of an RFC 8345 document."""

    def __init__(self, read: Any, places: _Places) -> None:
        self._places = places
        networks = self._list(self._map(read, "ietf-network:networks", "file"), "network", "file")
        overlays = [n for n in networks if isinstance(n, dict) and n.get("supporting-network")]
        if len(overlays) != 1:
            raise _Shape(
                "line 1: networks: exactly one network must rest on another one"
                f" (supporting-network), {len(overlays)} do"
            )
        self._overlay: dict[str, Any] = overlays[0]
        refs = self._list(self._overlay, "supporting-network", "network")
        under = refs[0].get("network-ref") if isinstance(refs[0], dict) else None
        found = [n for n in networks if isinstance(n, dict) and n.get("network-id") == under]
        if under is None or len(found) != 1:
            raise _Shape(
                f"line {places.line_of('network-ref', under)}: network"
                f" {self._overlay.get('network-id')!r}: supporting-network {under!r} is not there"
            )
        self._underlay: dict[str, Any] = found[0]
        self._tables: dict[str, list[dict[str, Any]]] = {
            "nodes": [],
            "chassis": [],
            "virtual_switches": [],
            "fibres": [],
            "end_points": [],
        }
        self._chassis_of: dict[str, str] = {}

    def tables(self) -> dict[str, Any]:
        for node in self._list(self._underlay, "node", "network"):
            self._read_chassis(node)
        for node in self._list(self._overlay, "node", "network"):
            if isinstance(node, dict) and OURS + "virtual-switch" in node:
                self._read_virtual_switch(node)
            else:
                self._read_site(node)
        for link in self._list(self._overlay, _TOPOLOGY + "link", "network"):
            self._read_link(link)
        budget = self._overlay.get(OURS + "quantum-loss-budget-db")
        return {
            "name": self._overlay.get("network-id", "network"),
            **({} if budget is None else {"quantum_loss_budget_db": budget}),
            **self._tables,
        }

    def _read_chassis(self, node: Any) -> None:
        name = self._id(node, "node-id")
        own = self._map(node, OURS + "chassis", f"node {name!r}")
        row = self._keys(own, ("datapath-id", "cross-connect-loss-db", "switching-time-ms"))
        row |= self._keys(own, ("ingress-ports",))
        ports = self._ports(node, name)
        if sorted(ports) != list(range(1, len(ports) + 1)):
            raise self._shape("node-id", name, "its termination points must be 1 to their number")
        self._add("chassis", "node-id", name, {"name": name, "ports": len(ports), **row})

    def _read_virtual_switch(self, node: dict[str, Any]) -> None:
        name = self._id(node, "node-id")
        under = self._list(node, "supporting-node", f"node {name!r}")
        chassis = under[0].get("node-ref") if under and isinstance(under[0], dict) else None
        own = self._map(node, OURS + "virtual-switch", f"node {name!r}")
        self._chassis_of[name] = str(chassis)
        row = {"name": name, "chassis": chassis, "ports": self._ports(node, name)}
        row |= self._keys(own, ("owner", "reserved-ports", "datapath-id"))
        self._check_supports(node, name, str(chassis))
        self._add("virtual_switches", "node-id", name, row)

    def _check_supports(self, node: dict[str, Any], name: str, chassis: str) -> None:
        """Refuse a port that rests on another one than that of its number on the chassis."""
        for point in node[_TOPOLOGY + "termination-point"]:
            for under in point.get("supporting-termination-point") or []:
                rests = under if isinstance(under, dict) else {}
                if (rests.get("node-ref"), rests.get("tp-ref")) != (chassis, point["tp-id"]):
                    raise self._shape(
                        "node-id",
                        name,
                        f"port {point['tp-id']} rests on {rests.get('node-ref')}:"
                        f"{rests.get('tp-ref')}, the node on {chassis}",
                    )

    def _read_site(self, node: Any) -> None:
        name = self._id(node, "node-id")
        own = self._map(node, OURS + "site", f"node {name!r}")
        row = {"name": name, **self._keys(own, ("title", "role"))}
        self._add("nodes", "node-id", name, row)
        for point in node.get(_TOPOLOGY + "termination-point") or []:
            end = self._id(point, "tp-id")
            about = self._map(point, OURS + "end-point", f"termination point {end!r}")
            row = {"name": end, "node": name}
            row |= self._keys(about, ("kind", "role", "bandwidth-class"))
            self._add("end_points", "tp-id", end, row)

    def _read_link(self, link: Any) -> None:
        name = self._id(link, "link-id")
        if OURS + "reverse-of" in link:
            return
        source = self._map(link, "source", f"link {name!r}")
        destination = self._map(link, "destination", f"link {name!r}")
        a = self._end(name, source.get("source-node"), source.get("source-tp"))
        b = self._end(name, destination.get("dest-node"), destination.get("dest-tp"))
        if OURS + "patch" in link:
            self._patch(name, a, b)
            return
        own = self._map(link, OURS + "fibre", f"link {name!r}")
        row = {"name": name, "a": a, "b": b, **self._keys(own, ("km", "loss-db", "kind"))}
        self._add("fibres", "link-id", name, row)

    def _patch(self, name: str, a: str, b: str) -> None:
        end, port = (b, a) if ":" in a else (a, b)
        for row in self._tables["end_points"]:
            if row["name"] == end and ":" in port:
                row["port"] = port
                return
        raise self._shape("link-id", name, "a patch joins an end point and a port")

    def _end(self, link: str, node: object, point: object) -> str:
        if node in self._chassis_of:
            return f"{self._chassis_of[str(node)]}:{point}"
        if not any(row["name"] == node for row in self._tables["nodes"]):
            raise self._shape("link-id", link, f"unknown node {node!r}")
        return str(point)

    def _ports(self, node: dict[str, Any], name: str) -> list[int]:
        points = self._list(node, _TOPOLOGY + "termination-point", f"node {name!r}")
        ids = [self._id(point, "tp-id") for point in points]
        strange = [id_ for id_ in ids if not re.fullmatch(r"[1-9][0-9]{0,4}", id_)]
        if strange:
            raise self._shape("node-id", name, f"tp-id {strange[0]!r} is not the number of a port")
        return [int(id_) for id_ in ids]

    def _add(self, table: str, key: str, name: str, row: dict[str, Any]) -> None:
        rows = self._tables[table]
        self._places.note(table, len(rows), self._places.line_of(key, name))
        rows.append(row)

    @staticmethod
    def _keys(own: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
        """Those of `keys` that are there, as the TOML form names them."""
        return {key.replace("-", "_"): own[key] for key in keys if key in own}

    def _shape(self, key: str, name: str, condition: str) -> _Shape:
        what = {"node-id": "node", "link-id": "link"}[key]
        return _Shape(f"line {self._places.line_of(key, name)}: {what} {name!r}: {condition}")

    def _id(self, element: Any, key: str) -> str:
        id_ = element.get(key) if isinstance(element, dict) else None
        if not isinstance(id_, str):
            raise _Shape(f"line 1: {key}: every such element needs one, and it is a text")
        return id_

    def _map(self, element: Any, key: str, where: str) -> dict[str, Any]:
        found = element.get(key) if isinstance(element, dict) else None
        if not isinstance(found, dict):
            raise _Shape(f"line {self._line(element)}: {where}: needs the container {key!r}")
        return found

    def _list(self, element: Any, key: str, where: str) -> list[Any]:
        found = element.get(key) if isinstance(element, dict) else None
        if not isinstance(found, list) or not found:
            raise _Shape(f"line {self._line(element)}: {where}: needs the list {key!r}")
        return found

    def _line(self, element: Any) -> int:
        for key in ("tp-id", "node-id", "link-id", "network-id"):
            if isinstance(element, dict) and isinstance(element.get(key), str):
                return self._places.line_of(key, element[key])
        return 1
