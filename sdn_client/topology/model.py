"""Nodes, chassis, virtual switches, fibres, end points, and what follows from them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sdn_client.errors import (
    KindsMixed,
    OtherPartition,
    SamePort,
    SameSide,
    UnknownName,
    UnknownPort,
)

FIBRE_LOSS_DB_PER_KM = 0.2
"""Standard single-mode fibre at 1550 nm (ITU-T G.652)."""

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


class LightKind(StrEnum):
    """What a fibre may carry, or an end point speaks. No end point is `both`."""

    QUANTUM = "quantum"
    CLASSICAL = "classical"
    BOTH = "both"

    def admits(self, other: LightKind) -> bool:
        """Whether light of kind `other` may enter here."""
        return self in (other, LightKind.BOTH)


class BandwidthClass(StrEnum):
    """What a classical end point's transceiver carries, in Gb/s; slowest first."""

    G1 = "1G"
    G10 = "10G"
    G25 = "25G"
    G40 = "40G"
    G100 = "100G"
    G400 = "400G"

    @property
    def gbps(self) -> int:
        return int(self.value.removesuffix("G"))

    def offers(self, wanted: BandwidthClass | None) -> bool:
        """Whether this is at least what is wanted."""
        return wanted is None or self.gbps >= wanted.gbps


@dataclass(frozen=True, order=True)
class PortRef:
    """One port of one chassis; ports count from 1."""

    chassis: str
    port: int

    def __str__(self) -> str:
        return f"{self.chassis}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> PortRef:
        """Read `chassis:port`; ValueError with the reason when it is not that."""
        chassis, colon, port = text.partition(":")
        if not colon or not _NAME.fullmatch(chassis) or not port.isascii() or not port.isdigit():
            raise ValueError(f"{text!r} is not a port like 'polatis-1:17'")
        return cls(chassis, int(port))


@dataclass(frozen=True, order=True)
class CrossConnect:
    """Two ports of one chassis that are to pass light to each other, one passage.

    Light passes both ways, so the ports are kept in ascending order: two cross-connects of the
    same ports are equal however they were written.
    """

    chassis: str
    in_port: int
    out_port: int

    def __post_init__(self) -> None:
        if self.in_port > self.out_port:
            low, high = self.out_port, self.in_port
            object.__setattr__(self, "in_port", low)
            object.__setattr__(self, "out_port", high)

    def __str__(self) -> str:
        return f"{self.chassis}:{self.in_port}-{self.out_port}"

    @property
    def ports(self) -> tuple[PortRef, PortRef]:
        return PortRef(self.chassis, self.in_port), PortRef(self.chassis, self.out_port)


def _name(value: Any) -> Any:
    if isinstance(value, str) and not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a name: small letters, digits, '-' and '.', at most 63 characters"
        )
    return value


def _datapath_id(value: Any) -> Any:
    if isinstance(value, str):
        digits = value.replace(":", "")
        if not re.fullmatch(r"[0-9a-fA-F]{16}", digits):
            raise ValueError(f"{value!r} is not a datapath id like '00:00:00:00:00:00:00:01'")
        return int(digits, 16)
    return value


def _port_set(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    ports: list[int] = []
    for item in value:
        if isinstance(item, str):
            span = re.fullmatch(r"(\d{1,5})-(\d{1,5})", item)
            if span is None or int(span[1]) > int(span[2]):
                raise ValueError(f"{item!r} is not a range of ports like '1-8'")
            ports.extend(range(int(span[1]), int(span[2]) + 1))
        else:
            ports.append(item)
    if len(set(ports)) != len(ports):
        raise ValueError("a port is listed twice")
    return frozenset(ports)


def _port(value: Any) -> Any:
    return PortRef.parse(value) if isinstance(value, str) else value


def _fibre_end(value: Any) -> Any:
    return PortRef.parse(value) if isinstance(value, str) and ":" in value else value


Name = Annotated[str, BeforeValidator(_name)]
FibreEnd = Annotated[PortRef | Name, BeforeValidator(_fibre_end)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Node(_Table):
    """A site. The central node holds the orchestrator and Alice."""

    name: Name
    title: str = ""
    role: Literal["central", "remote"] = "remote"


class Chassis(_Table):
    """One physical switch with ports 1..`ports`.

    `cross_connect_loss_db` is the loss of one passage; its default is the back-to-back loss fitted
    to the key rates of Aguado et al., ECOC 2016, and so includes one passage. The 25 ms of
    `switching_time_ms` are that paper's. With `ingress_ports` the switch is two-sided: ports
    1..ingress_ports on one side, the rest on the other; without, any two ports can be joined.
    """

    name: Name
    datapath_id: Annotated[int, BeforeValidator(_datapath_id), Field(ge=1, lt=2**64)]
    ports: int = Field(ge=2, le=0xF9FF)
    cross_connect_loss_db: float = Field(default=1.548, ge=0, le=60)
    switching_time_ms: float = Field(default=25, ge=0, le=10_000)
    ingress_ports: int | None = Field(default=None, ge=1)

    def side(self, port: int) -> Literal["any", "ingress", "egress"]:
        """On which side of the switch `port` is."""
        if self.ingress_ports is None:
            return "any"
        return "ingress" if port <= self.ingress_ports else "egress"

    def check_pair(self, a: int, b: int) -> None:
        """Refuse a pair of ports that this chassis can never join.

        Raises UnknownPort, SamePort or SameSide.
        """
        for port in (a, b):
            if not 1 <= port <= self.ports:
                raise UnknownPort(
                    f"{self.name} has no port {port}: its ports are 1 to {self.ports}.",
                    next_step="Choose a port of that range.",
                )
        if a == b:
            raise SamePort(
                f"{self.name}: port {a} cannot be joined to itself.",
                next_step="Name two different ports.",
            )
        if self.ingress_ports is not None and self.side(a) == self.side(b):
            raise SameSide(
                f"{self.name}: ports {a} and {b} are both on the {self.side(a)} side.",
                next_step=f"Join a port up to {self.ingress_ports} with one above.",
            )


class VirtualSwitch(_Table):
    """A partition of one chassis; `ports` may hold ranges like `"1-8"`.

    With a `datapath_id` it presents itself to a controller as a switch of its own, with the
    chassis' port numbers. No path is computed over `reserved_ports`: they are kept for others, a
    power meter for example.
    """

    name: Name
    chassis: Name
    owner: str = Field(min_length=1)
    datapath_id: Annotated[int | None, BeforeValidator(_datapath_id), Field(ge=1, lt=2**64)] = None
    ports: Annotated[frozenset[int], BeforeValidator(_port_set), Field(min_length=1)]
    reserved_ports: Annotated[frozenset[int], BeforeValidator(_port_set)] = frozenset()


class EndPoint(_Table):
    """A device that sends or receives light.

    `port` when it is plugged straight into a switch; without it, a fibre names this end point as
    one of its ends. A quantum end point says whether it is a transmitter (Alice) or a receiver
    (Bob); a classical one how much it carries.
    """

    name: Name
    node: Name
    kind: Literal[LightKind.QUANTUM, LightKind.CLASSICAL]
    role: Literal["transmitter", "receiver", "transceiver"] = "transceiver"
    port: Annotated[PortRef | None, BeforeValidator(_port)] = None
    bandwidth_class: BandwidthClass = BandwidthClass.G10
    """Of classical end points; the paper's servers have 10G transceivers."""


class Fibre(_Table):
    """A fibre between two ports, or between a port and an end point (named in `a` or `b`)."""

    name: Name
    a: FibreEnd
    b: FibreEnd
    km: float = Field(ge=0, le=1000)
    declared_loss_db: float | None = Field(default=None, alias="loss_db", ge=0, le=200)
    kind: LightKind

    @property
    def loss_db(self) -> float:
        """The declared loss, or 0.2 dB/km."""
        if self.declared_loss_db is not None:
            return self.declared_loss_db
        return FIBRE_LOSS_DB_PER_KM * self.km

    @property
    def ends(self) -> tuple[PortRef | str, PortRef | str]:
        return self.a, self.b


@dataclass(frozen=True)
class Facing:
    """What light that leaves a port meets: `end` over `fibre` (None when plugged straight in)."""

    end: PortRef | EndPoint
    fibre: Fibre | None

    @property
    def km(self) -> float:
        return self.fibre.km if self.fibre else 0.0

    @property
    def loss_db(self) -> float:
        return self.fibre.loss_db if self.fibre else 0.0

    @property
    def kind(self) -> LightKind:
        """What may pass here: the fibre's kind, narrowed by an end point's."""
        if isinstance(self.end, EndPoint):
            return self.end.kind
        assert self.fibre is not None  # two ports face each other over a fibre alone
        return self.fibre.kind


class Topology(_Table):
    """The whole network, checked; look-ups raise UnknownName or UnknownPort."""

    name: Name = "network"
    quantum_loss_budget_db: float = Field(default=7.0, gt=0, le=100)
    nodes: tuple[Node, ...] = Field(min_length=1)
    chassis: tuple[Chassis, ...] = Field(min_length=1)
    virtual_switches: tuple[VirtualSwitch, ...] = Field(min_length=1)
    fibres: tuple[Fibre, ...] = ()
    end_points: tuple[EndPoint, ...] = Field(min_length=1)

    @cached_property
    def _end_points(self) -> dict[str, EndPoint]:
        return {e.name: e for e in self.end_points}

    @cached_property
    def _partition(self) -> dict[PortRef, VirtualSwitch]:
        return {PortRef(v.chassis, p): v for v in self.virtual_switches for p in v.ports}

    @cached_property
    def _facing(self) -> dict[PortRef, Facing]:
        facing = {e.port: Facing(e, None) for e in self.end_points if e.port is not None}
        for fibre in self.fibres:
            for here, there in (fibre.ends, fibre.ends[::-1]):
                if isinstance(here, PortRef):
                    end = there if isinstance(there, PortRef) else self._end_points[there]
                    facing[here] = Facing(end, fibre)
        return facing

    @cached_property
    def _attached_at(self) -> dict[str, PortRef]:
        return {f.end.name: p for p, f in self._facing.items() if isinstance(f.end, EndPoint)}

    def node_named(self, name: str) -> Node:
        return _find(self.nodes, name, "node")

    def chassis_named(self, name: str) -> Chassis:
        return _find(self.chassis, name, "chassis")

    def chassis_of_datapath(self, datapath_id: int) -> Chassis | None:
        """The chassis that presents itself as `datapath_id`, or None."""
        return next((c for c in self.chassis if c.datapath_id == datapath_id), None)

    def end_point_named(self, name: str) -> EndPoint:
        return _find(self.end_points, name, "end point")

    def end_points_of(self, name: str, kind: LightKind) -> tuple[EndPoint, ...]:
        """The end points that `name` stands for: itself, or those of the node, of that kind."""
        if name in self._end_points:
            return (self._end_points[name],)
        if any(n.name == name for n in self.nodes):
            return tuple(e for e in self.end_points if e.node == name and e.kind is kind)
        raise UnknownName(
            f"The network has neither an end point nor a node named {name!r}.",
            next_step=f"End points: {', '.join(sorted(self._end_points))}.",
        )

    def virtual_switch_of(self, port: PortRef) -> VirtualSwitch | None:
        """The partition that holds `port`, or None."""
        return self._partition.get(port)

    def facing(self, port: PortRef) -> Facing | None:
        """What light that leaves `port` meets; None where nothing is plugged in."""
        return self._facing.get(port)

    def plugged_ports(self) -> Iterable[tuple[PortRef, Facing]]:
        """Every port where something is plugged in, and what its light meets."""
        return self._facing.items()

    def port_of(self, end_point: str) -> PortRef:
        """The switch port at which the end point's light enters, over its fibre if it has one."""
        self.end_point_named(end_point)
        return self._attached_at[end_point]

    def check_cross_connect(self, cross_connect: CrossConnect) -> None:
        """Refuse what must never be joined, whoever asks.

        Raises UnknownName, UnknownPort, SamePort, SameSide, OtherPartition or KindsMixed.
        """
        a, b = cross_connect.ports
        self.chassis_named(cross_connect.chassis).check_pair(a.port, b.port)
        switch_a, switch_b = self._partition.get(a), self._partition.get(b)
        if switch_a is None or switch_a is not switch_b:
            names = [s.name if s else "no virtual switch" for s in (switch_a, switch_b)]
            raise OtherPartition(
                f"{a} belongs to {names[0]}, {b} to {names[1]}.",
                next_step="Join ports of one virtual switch, or go over a jumper.",
            )
        kinds = {self.kind_of_port(a), self.kind_of_port(b)}
        if {LightKind.QUANTUM, LightKind.CLASSICAL} <= kinds:
            raise KindsMixed(
                f"{a} is for {self.kind_of_port(a)} light, {b} for {self.kind_of_port(b)} light.",
                next_step="Choose two ports of one kind.",
            )

    def kind_of_port(self, port: PortRef) -> LightKind | None:
        """Which light may pass `port`; None where nothing is plugged in."""
        facing = self._facing.get(port)
        return facing.kind if facing else None


_Named = TypeVar("_Named", Node, Chassis, EndPoint)


def _find(items: tuple[_Named, ...], name: str, what: str) -> _Named:
    for item in items:
        if item.name == name:
            return item
    known = ", ".join(sorted(i.name for i in items))
    raise UnknownName(f"The network has no {what} named {name!r}.", next_step=f"Known: {known}.")
