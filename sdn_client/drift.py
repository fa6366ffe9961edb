"""What the devices hold beside what we believe, and circuits whose light is lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sdn_client.drivers.port import ChassisState
from sdn_client.errors import RequestRefused
from sdn_client.ledger import Circuit, CircuitState
from sdn_client.paths import LightPath
from sdn_client.topology import CrossConnect, EndPoint, PortRef, Topology


@dataclass(frozen=True)
class ChassisDrift:
    """The differences of one chassis; none of them when `is_none`."""

    chassis: str
    stray: tuple[CrossConnect, ...] = ()
    """On the device, and of no circuit."""
    missing: tuple[tuple[CrossConnect, UUID], ...] = ()
    """Of a circuit that should be up, and not on the device."""
    lost: tuple[tuple[PortRef, UUID], ...] = ()
    """Ports of circuits that are down or miss their light."""
    unread: str = ""
    """Why the device's table could not be compared: away, unreadable, or not the topology's."""

    @property
    def is_none(self) -> bool:
        return not (self.stray or self.missing or self.lost or self.unread)


def compare(
    chassis: str,
    table: Collection[CrossConnect],
    before: Iterable[Circuit],
    after: Iterable[Circuit],
    at_work: Collection[UUID],
) -> ChassisDrift:
    """The drift of `chassis`, whose `table` was read between `before` and `after`.

    What changed meanwhile, and what somebody works on, is no difference.
    """
    now = {c.id: c for c in after}
    earlier = {c.id: c for c in before}
    known = {x for c in (*earlier.values(), *now.values()) for x in c.cross_connects}
    should = (CircuitState.UP, CircuitState.ESTABLISHING)
    missing = [
        (x, c.id)
        for c in now.values()
        if c.state in should and earlier.get(c.id) == c and c.id not in at_work
        for x in c.cross_connects
        if x.chassis == chassis and x not in table
    ]
    stray = sorted(x for x in table if x not in known)
    return ChassisDrift(chassis, tuple(stray), tuple(sorted(missing)))


def lost_ports(
    chassis: str, state: ChassisState, circuits: Iterable[Circuit]
) -> tuple[tuple[PortRef, UUID], ...]:
    """Ports of `circuits` on `chassis` that are down or dark."""
    return tuple(
        sorted(
            (port, c.id)
            for c in circuits
            if c.state is not CircuitState.RELEASING
            for port in c.ports
            if port.chassis == chassis and port.port in state.unusable_ports
        )
    )


def trace(
    topology: Topology, cross_connects: Collection[CrossConnect]
) -> tuple[list[LightPath], list[CrossConnect]]:
    """Follow light from end points through `cross_connects`: whole paths, and what is left over."""
    crossed: dict[PortRef, CrossConnect] = {p: x for x in cross_connects for p in x.ports}
    paths: list[LightPath] = []
    used: set[CrossConnect] = set()
    for end in topology.end_points:
        path = _follow(topology, crossed, end)
        if path is not None and not used & set(path.cross_connects):
            used |= set(path.cross_connects)
            paths.append(path)
    return paths, sorted(set(cross_connects) - used)


def _follow(
    topology: Topology, crossed: Mapping[PortRef, CrossConnect], start: EndPoint
) -> LightPath | None:
    port = topology.port_of(start.name)
    first = topology.facing(port)
    assert first is not None  # an end point is attached there
    ways = [first]
    passed: list[CrossConnect] = []
    passage_loss_db = 0.0
    while port in crossed and crossed[port] not in passed:
        try:
            topology.check_cross_connect(crossed[port])
        except RequestRefused:
            return None  # no circuit may hold it
        passed.append(crossed[port])
        passage_loss_db += topology.chassis_named(port.chassis).cross_connect_loss_db
        port = next(p for p in crossed[port].ports if p != port)
        ahead = topology.facing(port)
        if ahead is None or not ahead.kind.admits(start.kind):
            return None
        ways.append(ahead)
        if isinstance(ahead.end, EndPoint):
            return LightPath(
                start.name,
                ahead.end.name,
                start.kind,
                tuple(passed),
                tuple(way.fibre.name for way in ways if way.fibre),
                round(sum(way.km for way in ways), 6),
                round(passage_loss_db + sum(way.loss_db for way in ways), 6),
                round(passage_loss_db, 6),
            )
        port = ahead.end
    return None
