"""The best path for light between two ends: fewest passages, then least loss.

A path leaves an end point, passes virtual switches by one cross-connect each, and ends at an end
point. Quantum paths use fibres that admit quantum light, classical paths those that admit
classical light, so the two never meet. A quantum path must stay within the loss budget; where the
path with the fewest passages does not, the one with the least loss is tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, cast

import networkx as nx

from sdn_client.errors import (
    BandwidthTooLow,
    KindsMixed,
    LossOverBudget,
    NoPath,
    PortInUse,
    RequestRefused,
)
from sdn_client.topology import (
    BandwidthClass,
    CrossConnect,
    EndPoint,
    LightKind,
    PortRef,
    Topology,
)

# Far above any loss in dB, far below what a float would blur.
_PASSAGE_WEIGHT = 1e6

_MOST_WAYS = 200
_REMEMBERED = 1024
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class _Side(Enum):
    """Light at a port is about to enter the switch, or has just left it."""

    ENTERS = "enters"
    LEAVES = "leaves"


_Vertex = tuple[PortRef | str, _Side]
"""A port, or an end point by name. Light leaves an end point's ENTERS vertex (it is about to enter
the network) and arrives at its LEAVES vertex, so that no path leads through an end point."""


@dataclass(frozen=True)
class LightPath:
    """A way from end point to end point. Losses in dB, lengths in km."""

    from_end_point: str
    to_end_point: str
    kind: LightKind
    cross_connects: tuple[CrossConnect, ...]
    fibres: tuple[str, ...]
    km: float
    loss_db: float
    passage_loss_db: float
    """The share of `loss_db` that the switches cost."""

    @property
    def passages(self) -> int:
        return len(self.cross_connects)

    @property
    def ports(self) -> tuple[PortRef, ...]:
        return tuple(port for x in self.cross_connects for port in x.ports)


class PathFinder:
    """Finds paths in one topology; keeps the graph of each kind of light."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._graphs = {
            kind: _graph(topology, kind) for kind in (LightKind.QUANTUM, LightKind.CLASSICAL)
        }
        # The topology never changes, so the same question has the same answer.
        self._shortest = lru_cache(_REMEMBERED)(self._search)

    def find(
        self,
        from_: str,
        to: str,
        kind: LightKind,
        *,
        in_use: Mapping[PortRef, str] | None = None,
        disabled: Collection[PortRef] = (),
        bandwidth: BandwidthClass | None = None,
    ) -> LightPath:
        """The best path from `from_` to `to`, each an end point or a node's any.

        `in_use` names for each port that is not free what uses it, `disabled` ports are as if
        unplugged. Raises UnknownName, KindsMixed, BandwidthTooLow, NoPath, LossOverBudget, or
        PortInUse when only ports in use stand between the two.
        """
        in_use = in_use or {}
        starts = self._ends(from_, kind, bandwidth)
        goals = self._ends(to, kind, bandwidth)
        try:
            return self._best(starts, goals, kind, frozenset((*in_use, *disabled)))
        except (NoPath, LossOverBudget):
            if not in_use:
                raise
        ideal = self._best(starts, goals, kind, frozenset(disabled))
        users = sorted({in_use[port] for port in ideal.ports if port in in_use})
        ports = sorted(port for port in ideal.ports if port in in_use)
        raise PortInUse(
            f"{from_} to {to}: {_and(map(str, ports))} in use by {_and(users)}.",
            next_step="Wait until that circuit is released.",
            ports=[str(port) for port in ports],
            circuits=users,
        )

    def alternatives(
        self,
        from_: str,
        to: str,
        kind: LightKind,
        *,
        at_most: int = 3,
        disabled: Collection[PortRef] = (),
        bandwidth: BandwidthClass | None = None,
    ) -> list[LightPath]:
        """Up to `at_most` different paths within the budget, best first, on an idle network.

        Raises what `find` raises where there is not one.
        """
        best = self.find(from_, to, kind, disabled=disabled, bandwidth=bandwidth)
        graph = self._graphs[kind].copy()
        graph.remove_nodes_from([v for v in self._graphs[kind] if v[0] in set(disabled)])
        source, target = ("", _Side.ENTERS), ("", _Side.LEAVES)
        for end in self._ends(from_, kind, bandwidth):
            graph.add_edge(source, (end.name, _Side.ENTERS), loss_db=0.0)
        for end in self._ends(to, kind, bandwidth):
            graph.add_edge((end.name, _Side.LEAVES), target, loss_db=0.0)

        def weight(_: Any, __: Any, edge: Any) -> float | None:
            return float(edge["loss_db"]) + (_PASSAGE_WEIGHT if "cross_connect" in edge else 0.0)

        ways = nx.shortest_simple_paths(graph, source, target, weight=weight)
        paths = [best]
        # A network with loops has many ways; those beyond the bound help nobody.
        for way in itertools.islice(ways, _MOST_WAYS):
            if len(paths) == at_most:
                break
            path = self._as_path(kind, way[1:-1])
            if path is not None and path not in paths and self._within_budget(path):
                paths.append(path)
        return paths

    def _within_budget(self, path: LightPath) -> bool:
        budget_db = self._topology.quantum_loss_budget_db
        return path.kind is not LightKind.QUANTUM or path.loss_db <= budget_db

    def _ends(
        self, name: str, kind: LightKind, bandwidth: BandwidthClass | None
    ) -> tuple[EndPoint, ...]:
        ends = self._topology.end_points_of(name, kind)
        for end in ends:
            if end.kind is not kind:
                raise KindsMixed(
                    f"{name} is a {end.kind} end point; {kind} light has no business there.",
                    next_step=f"Name a {kind} end point.",
                )
        if not ends:
            raise NoPath(f"{name} has no {kind} end point.", next_step="Correct the topology file.")
        offering = tuple(end for end in ends if end.bandwidth_class.offers(bandwidth))
        if kind is LightKind.CLASSICAL and not offering:
            most = max((end.bandwidth_class for end in ends), key=lambda c: c.gbps)
            raise BandwidthTooLow(
                f"{name} offers {most}, not {bandwidth}.",
                next_step=f"Ask for {most} or less, or name a faster end point.",
            )
        return offering if kind is LightKind.CLASSICAL else ends

    def _best(
        self,
        starts: Collection[EndPoint],
        goals: Collection[EndPoint],
        kind: LightKind,
        closed: frozenset[PortRef],
    ) -> LightPath:
        names = f"{_and(e.name for e in starts)} to {_and(e.name for e in goals)}"
        # Sorted, so that of equal paths always the same one is taken.
        sources = tuple[_Vertex, ...](sorted((e.name, _Side.ENTERS) for e in starts))
        targets = frozenset[_Vertex]((e.name, _Side.LEAVES) for e in goals)
        path = self._shortest(kind, sources, targets, closed, _PASSAGE_WEIGHT)
        if path is None:
            raise NoPath(
                f"{names}: no {kind} path joins them.",
                next_step="Look for a missing fibre or a port that is down.",
            )
        if self._within_budget(path):
            return path
        least = self._shortest(kind, sources, targets, closed, 0.0) or path
        if self._within_budget(least):
            return least
        raise _over_budget(least, self._topology.quantum_loss_budget_db)

    def _search(
        self,
        kind: LightKind,
        sources: tuple[_Vertex, ...],
        targets: frozenset[_Vertex],
        closed: frozenset[PortRef],
        passage_weight: float,
    ) -> LightPath | None:
        graph = self._graphs[kind]

        def weight(a: _Vertex, b: _Vertex, edge: dict[str, Any]) -> float | None:
            if a[0] in closed or b[0] in closed:
                return None  # networkx passes over such an edge
            extra = passage_weight if "cross_connect" in edge else 0.0
            return float(edge["loss_db"]) + extra

        found = nx.multi_source_dijkstra(graph, list(sources), weight=weight)
        # Without a target both are dictionaries; the types of networkx do not say so.
        distances, ways = cast(tuple[dict[_Vertex, float], dict[_Vertex, list[_Vertex]]], found)
        reached = sorted(targets & distances.keys(), key=lambda t: (distances[t], str(t[0])))
        if not reached:
            return None
        return self._as_path(kind, ways[reached[0]])

    def _as_path(self, kind: LightKind, vertices: list[_Vertex]) -> LightPath | None:
        graph = self._graphs[kind]
        edges = [graph.edges[a, b] for a, b in itertools.pairwise(vertices)]
        passages = [e["cross_connect"] for e in edges if "cross_connect" in e]
        path = LightPath(
            str(vertices[0][0]),
            str(vertices[-1][0]),
            kind,
            tuple(passages),
            tuple(e["fibre"] for e in edges if e.get("fibre")),
            round(sum(e.get("km", 0.0) for e in edges), 6),
            round(sum(e["loss_db"] for e in edges), 6),
            round(sum(e["loss_db"] for e in edges if "cross_connect" in e), 6),
        )
        # Only a two-sided switch can lead the shortest way over one port twice; that is no path.
        return path if len(set(path.ports)) == len(path.ports) else None


def _graph(topology: Topology, kind: LightKind) -> nx.DiGraph[_Vertex]:
    """Passages and fibres between ports that admit light of `kind`."""
    graph: nx.DiGraph[_Vertex] = nx.DiGraph()
    for switch in topology.virtual_switches:
        chassis = topology.chassis_named(switch.chassis)
        ports = [
            port
            for port in sorted(switch.ports - switch.reserved_ports)
            if (light := topology.kind_of_port(PortRef(chassis.name, port))) is not None
            and light.admits(kind)
        ]
        for number in ports:
            here = PortRef(chassis.name, number)
            graph.add_nodes_from([(here, side) for side in _Side])
        for a in ports:
            for b in ports:
                try:
                    chassis.check_pair(a, b)
                except RequestRefused:
                    continue
                graph.add_edge(
                    (PortRef(chassis.name, a), _Side.ENTERS),
                    (PortRef(chassis.name, b), _Side.LEAVES),
                    loss_db=chassis.cross_connect_loss_db,
                    cross_connect=CrossConnect(chassis.name, a, b),
                )
    for end_point in topology.end_points:
        if end_point.kind is kind:
            graph.add_nodes_from([(end_point.name, side) for side in _Side])
    for port, facing in topology.plugged_ports():
        if not facing.kind.admits(kind):
            continue
        fibre = facing.fibre.name if facing.fibre else None
        cost = {"loss_db": facing.loss_db, "km": facing.km, "fibre": fibre}
        if isinstance(facing.end, PortRef):
            graph.add_edge((port, _Side.LEAVES), (facing.end, _Side.ENTERS), **cost)
        else:
            graph.add_edge((port, _Side.LEAVES), (facing.end.name, _Side.LEAVES), **cost)
            graph.add_edge((facing.end.name, _Side.ENTERS), (port, _Side.ENTERS), **cost)
    return graph


def _over_budget(path: LightPath, budget_db: float) -> LossOverBudget:
    fibre_db = path.loss_db - path.passage_loss_db
    costs = f"{path.km:g} km of fibre cost {fibre_db:.1f} dB"
    if path.passages > 1:
        extra = path.passages - 1
        extra_db = path.passage_loss_db / path.passages * extra
        noun = "passage costs" if extra == 1 else "passages cost"
        number = _NUMBERS[extra] if extra < len(_NUMBERS) else str(extra)
        costs += f", {number} additional {noun} {extra_db:.1f} dB"
    return LossOverBudget(
        f"{path.to_end_point}: best path {path.loss_db:.1f} dB, budget {budget_db:.1f} dB:"
        f" {costs}.",
        next_step="Shorten the fibre or take passages out of the path.",
        loss_db=round(path.loss_db, 3),
        budget_db=budget_db,
    )


def _and(names: Collection[str] | Any) -> str:
    listed = list(names)
    if len(listed) < 2:
        return "".join(listed)
    return f"{', '.join(listed[:-1])} and {listed[-1]}"
