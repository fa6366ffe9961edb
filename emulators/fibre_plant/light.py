"""Follows light through fibres and cross-connects. Pure: no sockets, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sdn_client.topology import EndPoint, Fibre, LightKind, PortRef, Topology

CrossConnects = Mapping[PortRef, PortRef]
"""Every port that passes light, to the port where the light goes; holds both directions."""


@dataclass(frozen=True)
class LitPath:
    """Light from one end point arrives at another. Lengths in km, losses in dB."""

    source: EndPoint
    target: EndPoint
    loss_db: float
    fibre_km: float
    cross_connects: tuple[tuple[PortRef, PortRef], ...]
    fibres: tuple[str, ...]

    @property
    def kind(self) -> LightKind:
        return self.source.kind


@dataclass(frozen=True)
class Light:
    """All paths that are lit now, and what is wrong with the rest."""

    paths: tuple[LitPath, ...]
    alarms: tuple[str, ...]

    def quantum_channel(self, end_point: str) -> LitPath | None:
        """The path that starts at the quantum end point and serves key distribution."""
        for path in self.paths:
            if (
                path.source.name == end_point
                and path.kind is LightKind.QUANTUM
                and _can_distribute(path.source, path.target)
            ):
                return path
        return None

    def classical_path_from(self, node: str, end_point: str) -> bool:
        """Whether an end point of `node` has a classical path to `end_point`."""
        return any(
            path.kind is LightKind.CLASSICAL
            and path.source.node == node
            and path.target.name == end_point
            for path in self.paths
        )


def follow_all(topology: Topology, crossed: CrossConnects, cut: AbstractSet[str]) -> Light:
    """Send light from every end point; `cut` holds the names of broken fibres."""
    paths: list[LitPath] = []
    alarms: list[str] = []
    for end_point in topology.end_points:
        outcome = _follow(topology, crossed, cut, end_point)
        if isinstance(outcome, LitPath):
            paths.append(outcome)
        elif outcome:
            alarms.append(outcome)
    return Light(tuple(paths), tuple(alarms))


def _follow(
    topology: Topology, crossed: CrossConnects, cut: AbstractSet[str], source: EndPoint
) -> LitPath | str | None:
    """The path of the light of `source`, an alarm, or None when it ends in the dark.

    It ends: mirrors join ports in pairs and fibres join them in pairs, so light that came from an
    end point never returns to a port that it passed.
    """
    fibres: list[Fibre] = []
    passages: list[tuple[PortRef, PortRef]] = []
    entry = topology.port_of(source.name)
    first = topology.facing(entry)
    if first is not None and first.fibre is not None:
        fibres.append(first.fibre)
    while not _broken(fibres, cut):
        exit_port = crossed.get(entry)
        if exit_port is None:
            return None
        passages.append((entry, exit_port))
        ahead = topology.facing(exit_port)
        if ahead is None:
            return None
        if not ahead.kind.admits(source.kind):
            return (
                f"{source.kind} light of {source.name!r} comes out of {exit_port}, "
                f"where only {ahead.kind} light may be"
            )
        if ahead.fibre is not None:
            fibres.append(ahead.fibre)
        if isinstance(ahead.end, PortRef):
            entry = ahead.end
            continue
        if _broken(fibres, cut):
            return None
        return _arrived(topology, source, ahead.end, passages, fibres)
    return None


def _broken(fibres: list[Fibre], cut: AbstractSet[str]) -> bool:
    return any(fibre.name in cut for fibre in fibres)


def _arrived(
    topology: Topology,
    source: EndPoint,
    target: EndPoint,
    passages: list[tuple[PortRef, PortRef]],
    fibres: list[Fibre],
) -> LitPath:
    passage_loss_db = sum(
        topology.chassis_named(entry.chassis).cross_connect_loss_db for entry, _ in passages
    )
    return LitPath(
        source=source,
        target=target,
        loss_db=round(passage_loss_db + sum(fibre.loss_db for fibre in fibres), 6),
        fibre_km=round(sum(fibre.km for fibre in fibres), 6),
        cross_connects=tuple(passages),
        fibres=tuple(fibre.name for fibre in fibres),
    )


def _can_distribute(a: EndPoint, b: EndPoint) -> bool:
    """One can transmit and the other receive. The unit at either end is told of the channel."""
    return any(
        one.role != "receiver" and other.role != "transmitter" for one, other in ((a, b), (b, a))
    )


def dark_ports(topology: Topology, chassis: str, cut: AbstractSet[str]) -> list[int]:
    """The ports of `chassis` whose fibre is cut: no light comes in there, whoever sends."""
    return sorted(
        port.port
        for port, facing in topology.plugged_ports()
        if port.chassis == chassis and facing.fibre is not None and facing.fibre.name in cut
    )


def both_directions(
    chassis: str, pairs: Iterator[tuple[int, int]] | list[tuple[int, int]]
) -> dict[PortRef, PortRef]:
    """The cross-connects of one chassis as a mapping. ValueError when a port is used twice."""
    crossed: dict[PortRef, PortRef] = {}
    for a, b in pairs:
        for here, there in ((a, b), (b, a)):
            port = PortRef(chassis, here)
            if port in crossed:
                raise ValueError(f"port {here} of {chassis} is in two cross-connects")
            crossed[port] = PortRef(chassis, there)
    return crossed
