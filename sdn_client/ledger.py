"""What is remembered about circuits: the port, and its implementation in memory.

A circuit has ports, and a port serves one circuit: that is a constraint of the ledger, not care.
Every change is one transaction, so that a process may die between any two of them.

| state | meaning |
|---|---|
| reserved | ports taken, the switch not asked yet |
| establishing | journaled before the switch is asked; the outcome is not known yet |
| up | the switch's own table showed every cross-connect |
| releasing | nobody owns it; its cross-connects are to be removed, then its ports are free |
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from sdn_client.paths import LightPath
from sdn_client.topology import BandwidthClass, CrossConnect, LightKind, PortRef


class Purpose(StrEnum):
    """Why a circuit stands; it decides the kind of light and whether it can be shared."""

    QUANTUM_TURN = "quantum-turn"
    IMAGE_TRANSFER = "image-transfer"

    @property
    def kind(self) -> LightKind:
        return LightKind.QUANTUM if self is Purpose.QUANTUM_TURN else LightKind.CLASSICAL

    @property
    def is_shared(self) -> bool:
        """Whether several owners may use one circuit; a turn of Alice is for one alone."""
        return self is Purpose.IMAGE_TRANSFER


class CircuitState(StrEnum):
    RESERVED = "reserved"
    ESTABLISHING = "establishing"
    UP = "up"
    RELEASING = "releasing"


OWNED = frozenset({CircuitState.RESERVED, CircuitState.ESTABLISHING, CircuitState.UP})
"""The states in which a circuit has owners and can get another."""


@dataclass(frozen=True)
class Circuit:
    """Light from end point to end point: an ordered list of cross-connects, with owners."""

    id: UUID
    purpose: Purpose
    from_end_point: str
    to_end_point: str
    cross_connects: tuple[CrossConnect, ...]
    km: float
    loss_db: float
    created_at: datetime
    state: CircuitState = CircuitState.RESERVED
    established_at: datetime | None = None
    owners: tuple[str, ...] = ()
    bandwidth_class: BandwidthClass | None = None
    """What its slower end carries; of classical circuits."""
    until: Mapping[str, datetime] = field(default_factory=dict)
    """When an owner's hold ends by itself; without, it stays until it is released."""

    @classmethod
    def over(
        cls,
        path: LightPath,
        *,
        id: UUID,
        purpose: Purpose,
        created_at: datetime,
        bandwidth_class: BandwidthClass | None = None,
        state: CircuitState = CircuitState.RESERVED,
    ) -> Circuit:
        """A circuit that follows `path`, not yet in the ledger."""
        return cls(
            id,
            purpose,
            path.from_end_point,
            path.to_end_point,
            path.cross_connects,
            path.km,
            path.loss_db,
            created_at,
            state,
            bandwidth_class=bandwidth_class,
        )

    def along(self, path: LightPath) -> Circuit:
        """The same circuit over another path; what was up has to be made again."""
        is_made = self.state in (CircuitState.ESTABLISHING, CircuitState.UP)
        return replace(
            self,
            from_end_point=path.from_end_point,
            to_end_point=path.to_end_point,
            cross_connects=path.cross_connects,
            km=path.km,
            loss_db=path.loss_db,
            state=CircuitState.ESTABLISHING if is_made else self.state,
        )

    @property
    def ports(self) -> tuple[PortRef, ...]:
        return tuple(port for x in self.cross_connects for port in x.ports)

    @property
    def chassis(self) -> frozenset[str]:
        return frozenset(x.chassis for x in self.cross_connects)


@dataclass(frozen=True)
class Waiting:
    """An owner that waits for free ports, since `requested_at`."""

    owner: str
    purpose: Purpose
    from_end_point: str
    to_end_point: str
    requested_at: datetime
    bandwidth_class: BandwidthClass | None = None
    """The least that the circuit has to carry."""

    def is_same_wish(self, other: Waiting) -> bool:
        """Whether `other` asks for the same, whenever it asked."""
        return replace(self, requested_at=other.requested_at) == other


@dataclass(frozen=True)
class Snapshot:
    """All that the ledger holds, at one moment."""

    circuits: list[Circuit]
    """Oldest first; owners in order of joining."""
    waiting: list[Waiting]
    """First come first."""


class CircuitLedger(Protocol):
    """Every method is one transaction; every answer is a snapshot."""

    def snapshot(self) -> Snapshot: ...

    def circuits(self) -> list[Circuit]:
        """All circuits, oldest first; owners in order of joining."""
        ...

    def circuit_of(self, owner: str) -> Circuit | None: ...

    def state_of(self, circuit: UUID) -> CircuitState | None:
        """The state alone; None for a circuit that is gone."""
        ...

    def add(self, circuit: Circuit, owner: str, until: datetime | None = None) -> Circuit | None:
        """Take the ports for `owner`, who no longer waits; the circuit with its owner.

        None, and nothing changed, when a port is taken or the owner has a circuit already.
        """
        ...

    def join(self, circuit: UUID, owner: str, until: datetime | None = None) -> Circuit | None:
        """Add `owner`, who no longer waits; the circuit as it is now. None when it has no owners
        any more, or the owner has a circuit already."""
        ...

    def leave(self, owner: str) -> Circuit | None:
        """`owner` owns nothing and waits for nothing. Returns the circuit that it left, as it is
        now: without owners it is `releasing`, or gone (and still called `reserved` in the answer)
        where the switch was never asked for it. None when it owned none."""
        ...

    def move(
        self,
        circuit: UUID,
        sources: Collection[CircuitState],
        target: CircuitState,
        at: datetime | None = None,
    ) -> bool:
        """Change the state if it is one of `sources`; `at` becomes established_at if given."""
        ...

    def reroute(self, circuit: UUID, path: LightPath) -> Circuit | None:
        """The circuit over another path, `establishing` where it was up.

        What may still pass light keeps its ports too, until `let_go`. None, and nothing changed,
        when a port is taken by another circuit or it has no owners.
        """
        ...

    def let_go(self, circuit: UUID, chassis: str | None = None) -> None:
        """Free what a reroute kept, of `chassis` alone if given: the old path is parted there."""
        ...

    def remove(self, circuit: UUID) -> bool:
        """Forget a circuit that is `releasing`; its ports are free. False when there is none."""
        ...

    def wait(self, request: Waiting) -> Waiting:
        """Put `request` into the queue. An owner that waits for the same already keeps its
        place (the stored request is returned); for something else, it begins anew."""
        ...

    def waiting(self) -> list[Waiting]:
        """The queue, first come first."""
        ...


class MemoryCircuitLedger:
    """A ledger for unit tests: forgets everything when the process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._circuits: dict[UUID, Circuit] = {}
        self._kept: dict[UUID, frozenset[PortRef]] = {}
        """Ports of paths that were left and may still pass light."""
        self._queue: dict[str, Waiting] = {}

    def snapshot(self) -> Snapshot:
        with self._lock:
            return Snapshot(
                sorted(self._circuits.values(), key=lambda c: (c.created_at, c.id.bytes)),
                sorted(self._queue.values(), key=lambda w: (w.requested_at, w.owner)),
            )

    def circuits(self) -> list[Circuit]:
        return self.snapshot().circuits

    def circuit_of(self, owner: str) -> Circuit | None:
        with self._lock:
            return self._of(owner)

    def state_of(self, circuit: UUID) -> CircuitState | None:
        with self._lock:
            there = self._circuits.get(circuit)
            return None if there is None else there.state

    def add(self, circuit: Circuit, owner: str, until: datetime | None = None) -> Circuit | None:
        with self._lock:
            if self._used() & set(circuit.ports) or self._of(owner) is not None:
                return None
            added = self._circuits[circuit.id] = replace(
                circuit, owners=(owner,), until={owner: until} if until else {}
            )
            self._queue.pop(owner, None)
            return added

    def join(self, circuit: UUID, owner: str, until: datetime | None = None) -> Circuit | None:
        with self._lock:
            there = self._circuits.get(circuit)
            if there is None or there.state not in OWNED or self._of(owner) is not None:
                return None
            limits = {**there.until, owner: until} if until else there.until
            joined = self._circuits[circuit] = replace(
                there, owners=(*there.owners, owner), until=limits
            )
            self._queue.pop(owner, None)
            return joined

    def leave(self, owner: str) -> Circuit | None:
        with self._lock:
            self._queue.pop(owner, None)
            circuit = self._of(owner)
            if circuit is None:
                return None
            owners = tuple(o for o in circuit.owners if o != owner)
            limits = {o: until for o, until in circuit.until.items() if o != owner}
            left = replace(circuit, owners=owners, until=limits)
            if not owners and circuit.state is CircuitState.RESERVED:
                self._forget(circuit.id)
                return left
            if not owners:
                left = replace(left, state=CircuitState.RELEASING)
            self._circuits[circuit.id] = left
            return left

    def move(
        self,
        circuit: UUID,
        sources: Collection[CircuitState],
        target: CircuitState,
        at: datetime | None = None,
    ) -> bool:
        with self._lock:
            there = self._circuits.get(circuit)
            if there is None or there.state not in sources:
                return False
            since = at or there.established_at
            self._circuits[circuit] = replace(there, state=target, established_at=since)
            return True

    def reroute(self, circuit: UUID, path: LightPath) -> Circuit | None:
        with self._lock:
            there = self._circuits.get(circuit)
            if there is None or there.state not in OWNED:
                return None
            if self._used(but=circuit) & set(path.ports):
                return None
            moved = self._circuits[circuit] = there.along(path)
            if moved.state is CircuitState.ESTABLISHING:
                kept = self._kept.get(circuit, frozenset()) | frozenset(there.ports)
                self._kept[circuit] = kept - frozenset(moved.ports)
            return moved

    def let_go(self, circuit: UUID, chassis: str | None = None) -> None:
        with self._lock:
            kept = self._kept.pop(circuit, frozenset())
            left = frozenset(p for p in kept if chassis not in (None, p.chassis))
            if left:
                self._kept[circuit] = left

    def remove(self, circuit: UUID) -> bool:
        with self._lock:
            there = self._circuits.get(circuit)
            if there is None or there.state is not CircuitState.RELEASING:
                return False
            self._forget(circuit)
            return True

    def wait(self, request: Waiting) -> Waiting:
        with self._lock:
            there = self._queue.get(request.owner)
            if there is not None and there.is_same_wish(request):
                return there
            self._queue[request.owner] = request
            return request

    def waiting(self) -> list[Waiting]:
        return self.snapshot().waiting

    def _of(self, owner: str) -> Circuit | None:
        return next((c for c in self._circuits.values() if owner in c.owners), None)

    def _used(self, but: UUID | None = None) -> set[PortRef]:
        used = {p for c in self._circuits.values() if c.id != but for p in c.ports}
        return used | {p for id_, ports in self._kept.items() if id_ != but for p in ports}

    def _forget(self, circuit: UUID) -> None:
        del self._circuits[circuit]
        self._kept.pop(circuit, None)
