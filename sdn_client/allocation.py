"""Who gets which ports: first come, first served, and what can be shared is shared.

A request does not take, and a sharer does not keep, ports that an earlier waiting request could
use. Nothing here asks a device to do anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sdn_client.drivers.port import CircuitDriver
from sdn_client.errors import NoPath, OwnerElsewhere, PortInUse, SdnError, UnknownName
from sdn_client.ledger import (
    OWNED,
    Circuit,
    CircuitLedger,
    CircuitState,
    Purpose,
    Snapshot,
    Waiting,
)
from sdn_client.paths import LightPath, PathFinder
from sdn_client.topology import BandwidthClass, LightKind, PortRef, Topology
from timekeeping import Clock


@dataclass(frozen=True)
class Reservation:
    """Ports are taken for the owner; `shared` when the circuit had an owner already."""

    circuit: Circuit
    shared: bool


@dataclass(frozen=True)
class NotFree:
    """No free way at the moment; the owner has a place in the queue."""

    reason: str
    requested_at: datetime
    ahead: int
    """How many earlier requests wait."""


class Allocation:
    """Decides about ports; the caller lets in one thread at a time.

    Another process may decide at the same time: that a port serves one circuit is the ledger's
    constraint.
    """

    def __init__(
        self, driver: CircuitDriver, topology: Topology, ledger: CircuitLedger, clock: Clock
    ) -> None:
        self._driver = driver
        self._topology = topology
        self._ledger = ledger
        self._clock = clock
        self._finder = PathFinder(topology)

    def plan(
        self, from_: str, to: str, purpose: Purpose, bandwidth: BandwidthClass | None = None
    ) -> LightPath:
        """The path that a circuit would take on an idle network."""
        return self._finder.find(
            from_, to, purpose.kind, disabled=self.unusable_ports(), bandwidth=bandwidth
        )

    def alternatives(
        self,
        from_: str,
        to: str,
        purpose: Purpose,
        *,
        at_most: int,
        bandwidth: BandwidthClass | None = None,
    ) -> list[LightPath]:
        """Up to `at_most` paths on an idle network, best first."""
        return self._finder.alternatives(
            from_,
            to,
            purpose.kind,
            at_most=at_most,
            disabled=self.unusable_ports(),
            bandwidth=bandwidth,
        )

    def take(
        self, request: Waiting, *, until: datetime | None, state: CircuitState
    ) -> Reservation | NotFree:
        """Ports for `request`, or a place in the queue. A new circuit begins in `state`.

        Raises OwnerElsewhere, or what the path finder finds.
        """
        snapshot = self._ledger.snapshot()
        mine = next((c for c in snapshot.circuits if request.owner in c.owners), None)
        if mine is not None:
            if not self._joins(mine, request):
                raise OwnerElsewhere(
                    f"{request.owner} already has a circuit from {mine.from_end_point} to"
                    f" {mine.to_end_point}.",
                    next_step="Release it first.",
                )
            return Reservation(mine, shared=len(mine.owners) > 1)
        place = next((w for w in snapshot.waiting if w.is_same_wish(request)), None)
        answer = self._decide(place or request, snapshot, until, state)
        if isinstance(answer, Reservation) or place is not None:
            return answer
        # In the queue before looking again: a release from now on wakes us, an earlier one is seen.
        request = self._ledger.wait(request)
        return self._decide(request, self._ledger.snapshot(), until, state)

    def way_around(self, circuit: Circuit) -> LightPath:
        """Another path for a circuit of which ports fell out: from the same end point, else from
        another one of that site. Raises what the path finder finds.
        """
        in_use = _users([c for c in self._ledger.circuits() if c.id != circuit.id])
        disabled = self.unusable_ports()

        def way_from(name: str) -> LightPath:
            return self._finder.find(
                name,
                circuit.to_end_point,
                circuit.purpose.kind,
                in_use=in_use,
                disabled=disabled,
                bandwidth=circuit.bandwidth_class,
            )

        try:
            return way_from(circuit.from_end_point)
        except (NoPath, PortInUse):
            return way_from(self._topology.end_point_named(circuit.from_end_point).node)

    def unusable_ports(self) -> set[PortRef]:
        """Ports that are down, or miss their light."""
        states = self._driver.chassis_states()
        return {PortRef(name, port) for name, s in states.items() for port in s.unusable_ports}

    # --- deciding

    def _decide(
        self, request: Waiting, snapshot: Snapshot, until: datetime | None, state: CircuitState
    ) -> Reservation | NotFree:
        circuits = snapshot.circuits
        ahead = _ahead_of(request, snapshot.waiting)
        for circuit in circuits:
            if (
                self._can_share(request, circuit)
                and not self._stands_in_the_way(circuit, ahead, circuits)
                and (joined := self._ledger.join(circuit.id, request.owner, until))
            ):
                return Reservation(joined, shared=True)
        in_use = _users(circuits)
        self._set_aside(ahead, circuits, in_use)
        try:
            path = self._find(request, in_use)
        except PortInUse as error:
            return NotFree(error.detail, request.requested_at, len(ahead))
        circuit = Circuit.over(
            path,
            id=uuid4(),
            purpose=request.purpose,
            created_at=self._clock.now(),
            bandwidth_class=self.bandwidth_of(path),
            state=state,
        )
        added = self._ledger.add(circuit, request.owner, until)
        if added is None:
            # Ports of a circuit that was there a moment ago; the queue keeps our place.
            return NotFree("The ports were taken just now.", request.requested_at, len(ahead))
        return Reservation(added, shared=False)

    def bandwidth_of(self, path: LightPath) -> BandwidthClass | None:
        """What the slower end carries; None for quantum light."""
        if path.kind is LightKind.QUANTUM:
            return None
        ends = (path.from_end_point, path.to_end_point)
        offered = [self._topology.end_point_named(end).bandwidth_class for end in ends]
        return min(offered, key=lambda c: c.gbps)

    def _set_aside(
        self, ahead: Collection[Waiting], circuits: Collection[Circuit], in_use: dict[PortRef, str]
    ) -> None:
        """Mark in `in_use` the ports that earlier requests could have now."""
        promised: list[tuple[Purpose, LightPath]] = []
        for earlier in ahead:
            if any(self._can_share(earlier, circuit) for circuit in circuits):
                continue
            if earlier.purpose.is_shared and any(
                purpose is earlier.purpose and self._are_ends_of(path, earlier)
                for purpose, path in promised
            ):
                continue
            try:
                path = self._find(earlier, in_use)
            except SdnError:
                continue  # it cannot have anything now, so it keeps nobody waiting
            promised.append((earlier.purpose, path))
            in_use |= dict.fromkeys(path.ports, f"{earlier.owner}, who asked earlier")

    def _stands_in_the_way(
        self, circuit: Circuit, ahead: Collection[Waiting], circuits: Collection[Circuit]
    ) -> bool:
        """Whether an earlier request would have a path if `circuit` were gone, and only then."""
        in_use = _users(circuits)
        without = {port: user for port, user in in_use.items() if port not in circuit.ports}
        return any(
            not self._has_path(earlier, in_use) and self._has_path(earlier, without)
            for earlier in ahead
            if not any(self._can_share(earlier, c) for c in circuits)
        )

    def _has_path(self, request: Waiting, in_use: dict[PortRef, str]) -> bool:
        try:
            self._find(request, in_use)
        except SdnError:
            return False
        return True

    def _find(self, request: Waiting, in_use: Mapping[PortRef, str]) -> LightPath:
        return self._finder.find(
            request.from_end_point,
            request.to_end_point,
            request.purpose.kind,
            in_use=in_use,
            disabled=self.unusable_ports(),
            bandwidth=request.bandwidth_class,
        )

    def _can_share(self, request: Waiting, circuit: Circuit) -> bool:
        return (
            request.purpose.is_shared
            and circuit.state in OWNED
            and self._joins(circuit, request)
            and not self.unusable_ports() & set(circuit.ports)
        )

    def _joins(self, circuit: Circuit, request: Waiting) -> bool:
        offered = circuit.bandwidth_class
        return (
            circuit.purpose is request.purpose
            and self._are_ends_of(circuit, request)
            and (offered is None or offered.offers(request.bandwidth_class))
        )

    def _are_ends_of(self, way: Circuit | LightPath, request: Waiting) -> bool:
        kind = request.purpose.kind
        return way.from_end_point in self._names(
            request.from_end_point, kind
        ) and way.to_end_point in self._names(request.to_end_point, kind)

    def _names(self, name: str, kind: LightKind) -> set[str]:
        try:
            return {e.name for e in self._topology.end_points_of(name, kind)}
        except UnknownName:  # who waits may have asked for an end that the file no longer has
            return set()


def _ahead_of(request: Waiting, waiting: Collection[Waiting]) -> list[Waiting]:
    key = (request.requested_at, request.owner)
    return [w for w in waiting if (w.requested_at, w.owner) < key]


def _users(circuits: Collection[Circuit]) -> dict[PortRef, str]:
    return {port: f"circuit {c.id}" for c in circuits for port in c.ports}
