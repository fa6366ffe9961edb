"""The optical network as the map draws it: sites, switches, end points, fibres, live circuits.

Sites stand in two columns by their distance from the centre in fibres, further ones below: a chain
of trusted nodes goes right, down, left, down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sdn_client.drivers.port import ChassisState
from sdn_client.ledger import Circuit, Purpose
from sdn_client.topology import EndPoint, Fibre, LightKind, PortRef, Topology

COLUMN_PX = 150
SITE_GAP_PX = 110
ROW_PX = 62
SITE_MARGIN_PX = 56

_LABEL = {Purpose.QUANTUM_TURN: "quantum", Purpose.IMAGE_TRANSFER: "images"}


@dataclass(frozen=True)
class _Line:
    """A fibre, or an end point plugged straight into a switch."""

    name: str
    a: str
    b: str
    kind: LightKind
    km: float | None
    ports: tuple[PortRef, ...]


class NetworkMap:
    """Elements for Cytoscape; where they stand follows from the topology alone."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._lines = list(self._all_lines())
        self._places = self._arranged()

    def elements(
        self, circuits: Iterable[Circuit], states: Mapping[str, ChassisState]
    ) -> list[dict[str, Any]]:
        """Nodes and edges, each with its classes; lines with light on them say whose."""
        live = list(circuits)
        elements = [*self._sites(), *self._things(states)]
        for line in self._lines:
            on = [circuit for circuit in live if set(line.ports) & set(circuit.ports)]
            dark = any(
                port.port in states[port.chassis].unusable_ports
                for port in line.ports
                if port.chassis in states and states[port.chassis].connected
            )
            classes = [line.kind.value, *(["live"] if on else []), *(["lost"] if dark else [])]
            label = _said(on, line) if on else ("" if line.km is None else f"{line.km:g} km")
            if dark:
                label = f"{line.name}: no light"
            data = {"id": line.name, "source": line.a, "target": line.b, "label": label}
            elements.append({"group": "edges", "data": data, "classes": " ".join(classes)})
        return elements

    def _sites(self) -> Iterable[dict[str, Any]]:
        for node in self._topology.nodes:
            data = {"id": f"site:{node.name}", "label": node.name, "title": node.title}
            yield {"group": "nodes", "data": data, "classes": f"site {node.role}"}

    def _things(self, states: Mapping[str, ChassisState]) -> Iterable[dict[str, Any]]:
        sites = {node.name for node in self._topology.nodes}
        for switch in self._topology.virtual_switches:
            state = states.get(switch.chassis)
            away = state is None or not state.connected
            yield self._thing(
                switch.name, switch.owner if switch.owner in sites else None, "switch", away=away
            )
        for end_point in self._topology.end_points:
            classes = f"end-point {end_point.kind.value} {end_point.role}"
            yield self._thing(end_point.name, end_point.node, classes)

    def _thing(
        self, name: str, site: str | None, classes: str, *, away: bool = False
    ) -> dict[str, Any]:
        x, y = self._places[name]
        data = {"id": name, "label": f"{name} (away)" if away else name}
        if site is not None:
            data["parent"] = f"site:{site}"
        return {
            "group": "nodes",
            "data": data,
            "position": {"x": x, "y": y},
            "classes": f"{classes} away" if away else classes,
        }

    # --- what is joined to what -------------------------------------------------------------------

    def _all_lines(self) -> Iterable[_Line]:
        for fibre in self._topology.fibres:
            ends = [self._name_of(end) for end in fibre.ends]
            ports = tuple(end for end in fibre.ends if isinstance(end, PortRef))
            if None not in ends:
                yield _Line(fibre.name, str(ends[0]), str(ends[1]), fibre.kind, _km(fibre), ports)
        for end_point in self._topology.end_points:
            at = self._name_of(end_point.port) if end_point.port is not None else None
            if at is not None and end_point.port is not None:
                name = f"plug:{end_point.name}"
                yield _Line(name, end_point.name, at, end_point.kind, None, (end_point.port,))

    def _name_of(self, end: PortRef | str) -> str | None:
        if isinstance(end, str):
            return end
        switch = self._topology.virtual_switch_of(end)
        return switch.name if switch is not None else None

    # --- where it stands --------------------------------------------------------------------------

    def _arranged(self) -> dict[str, tuple[int, int]]:
        depth = self._depths()
        rows: dict[int, dict[int, list[str]]] = {}
        for site in sorted(depth, key=lambda name: depth[name]):
            row, column = _cell(depth[site])
            rows.setdefault(row, {}).setdefault(column, []).append(site)
        places: dict[str, tuple[int, int]] = {}
        top = 0
        for row in sorted(rows):
            heights = {
                column: sum(self._rows_of(site) * ROW_PX + SITE_MARGIN_PX for site in sites)
                for column, sites in rows[row].items()
            }
            tallest = max(heights.values())
            for column, sites in rows[row].items():
                y = top + (tallest - heights[column]) // 2
                for site in sites:
                    is_centre = depth[site] == 0
                    places |= self._placed(site, column, y, is_centre=is_centre)
                    y += self._rows_of(site) * ROW_PX + SITE_MARGIN_PX
            top += tallest
        return places

    def _members(self, site: str) -> tuple[list[str], list[str]]:
        """The switches and the end points of a site."""
        switches = [v.name for v in self._topology.virtual_switches if v.owner == site]
        return switches, [e.name for e in self._topology.end_points if e.node == site]

    def _rows_of(self, site: str) -> int:
        return max(1, *(len(names) for names in self._members(site)))

    def _placed(
        self, site: str, column: int, top: int, *, is_centre: bool
    ) -> dict[str, tuple[int, int]]:
        """Switches face the other column; away from the centre they stand low, so that fibres to
        end points pass above them."""
        switches, ends = self._members(site)
        rows = self._rows_of(site)
        left, right = (switches, ends) if column else (ends, switches)
        places: dict[str, tuple[int, int]] = {}
        for side, names in enumerate((left, right)):
            free = (rows - len(names)) * ROW_PX
            begin = top + (free // 2 if is_centre or names is ends else free)
            x = column * (2 * COLUMN_PX + SITE_GAP_PX) + side * COLUMN_PX
            places |= {name: (x, begin + at * ROW_PX) for at, name in enumerate(names)}
        return places

    def _depths(self) -> dict[str, int]:
        """How many fibres each site is away from the centre; what nothing leads to comes last."""
        neighbours: dict[str, set[str]] = {}
        for line in self._lines:
            a, b = self._site_of(line.a), self._site_of(line.b)
            neighbours.setdefault(a, set()).add(b)
            neighbours.setdefault(b, set()).add(a)
        depth = {node.name: 0 for node in self._topology.nodes if node.role == "central"}
        edge = list(depth)
        while edge:
            reached = [n for site in edge for n in sorted(neighbours.get(site, ()))]
            edge = [site for site in dict.fromkeys(reached) if site not in depth]
            depth |= {site: depth[self._parent(site, neighbours, depth)] + 1 for site in edge}
        last = max(depth.values(), default=0)
        names = [node.name for node in self._topology.nodes]
        names += [switch.owner for switch in self._topology.virtual_switches]
        return {name: depth.get(name, last + 1) for name in dict.fromkeys(names)}

    @staticmethod
    def _parent(site: str, neighbours: Mapping[str, set[str]], depth: Mapping[str, int]) -> str:
        return min((n for n in neighbours[site] if n in depth), key=lambda n: depth[n])

    def _site_of(self, name: str) -> str:
        thing: EndPoint | None = next(
            (e for e in self._topology.end_points if e.name == name), None
        )
        if thing is not None:
            return thing.node
        return next(v.owner for v in self._topology.virtual_switches if v.name == name)


def _cell(depth: int) -> tuple[int, int]:
    """Row and column of the sites at a distance."""
    row, step = divmod(depth, 2)
    return row, step if row % 2 == 0 else 1 - step


def _km(fibre: Fibre) -> float | None:
    """Of fibres that lead somewhere; the length of a jumper says nothing."""
    return fibre.km if fibre.km >= 0.1 else None


def _said(circuits: list[Circuit], line: _Line) -> str:
    words = {_LABEL[circuit.purpose] for circuit in circuits}
    length = "" if line.km is None else f", {line.km:g} km"
    return f"{' and '.join(sorted(words))}{length}"
