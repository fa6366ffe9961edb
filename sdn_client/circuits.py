"""Circuits: reserved in the ledger, made in the switch, owned, shared, torn down, reconciled.

    reserve(owner, ...)  ->  ports taken in the ledger, or NotFree and a place in the queue
    establish(owner)     ->  journaled, programmed in one batch, confirmed by the switch's table
    release(owner)       ->  the last owner's leaving tears down

Each call can be repeated after a crash at any moment. The switch's own table is the truth: at every
(re)connection `reconcile` removes what nobody owns and makes again what is owned and missing.

Fairness is first come, first served by `requested_at`: a request does not take, and a sharer does
not keep, ports that an earlier waiting request could use. Whoever waits asks again when a listener
given to `on_release` is called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid4

import structlog

from sdn_client.drivers.port import (
    CircuitDriver,
    ConnectivityEvent,
    DeviceEvent,
    wait_connected,
)
from sdn_client.errors import (
    KindsMixed,
    LossOverBudget,
    NoPath,
    NotConfirmed,
    OutcomeUnknown,
    OwnerElsewhere,
    PortInUse,
    SdnError,
    SwitchRefused,
    SwitchUnreachable,
    UnknownName,
)
from sdn_client.ledger import OWNED, Circuit, CircuitLedger, CircuitState, Purpose, Waiting
from sdn_client.paths import LightPath, PathFinder
from sdn_client.topology import CrossConnect, EndPoint, PortRef, Topology
from timekeeping import Clock

log = structlog.get_logger(__name__)


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


@dataclass(frozen=True)
class Reconciliation:
    """What it took to make the switches and the ledger agree."""

    removed: tuple[CrossConnect, ...] = ()
    remade: tuple[CrossConnect, ...] = ()
    released: tuple[UUID, ...] = ()


class CircuitService:
    """One per network; safe from any thread."""

    def __init__(
        self,
        driver: CircuitDriver,
        topology: Topology,
        ledger: CircuitLedger,
        clock: Clock,
        *,
        reconnect_wait_s: float = 5.0,
    ) -> None:
        """`reconnect_wait_s`: how long `establish` waits for a switch that is just away."""
        self._driver = driver
        self._topology = topology
        self._ledger = ledger
        self._clock = clock
        self._finder = PathFinder(topology)
        self._reconnect_wait_s = reconnect_wait_s
        self._deciding = threading.Lock()  # who gets which ports
        self._programming = threading.Lock()  # switch and ledger change together
        self._listeners: list[Callable[[], None]] = []
        self._unsubscribe: Callable[[], None] = lambda: None

    # --- life

    def start(self) -> None:
        """Reconcile at every connection of a switch from now on, and now with those connected."""
        self._unsubscribe = self._driver.subscribe(self._on_device)
        states = self._driver.chassis_states()
        for name in sorted(name for name, state in states.items() if state.connected):
            self._reconcile_and_log(name)

    def close(self) -> None:
        """Stop listening; circuits stay as they are."""
        self._unsubscribe()
        self._unsubscribe = lambda: None

    def on_release(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever ports or a place in the queue came free; the answer ends that.

        It is called from the thread that released, without locks held, and may be called when
        nothing changed for a certain owner. Who was told NotFree and then parks its work must look
        once more after parking: a release may have come in between.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # --- the three steps of an owner

    def plan(self, from_: str, to: str, purpose: Purpose) -> LightPath:
        """The path that a circuit would take on an idle network; nothing is reserved.

        Raises UnknownName, KindsMixed, NoPath or LossOverBudget.
        """
        return self._finder.find(from_, to, purpose.kind, disabled=self._disabled_ports())

    def reserve(
        self,
        owner: str,
        from_: str,
        to: str,
        purpose: Purpose,
        *,
        requested_at: datetime | None = None,
    ) -> Reservation | NotFree:
        """Take ports from `from_` to `to` (end points, or nodes for any of theirs) for `owner`.

        Only the ledger changes. `requested_at` is the owner's place in the queue (default: now;
        asking again keeps the first). An owner that waits no longer must `release`, since its place
        keeps ports from later requests. Raises UnknownName, KindsMixed, NoPath, LossOverBudget, or
        OwnerElsewhere when the owner has a circuit between other ends.
        """
        with self._deciding:
            mine = self._ledger.circuit_of(owner)
            if mine is not None:
                if not self._joins(mine, from_, to, purpose):
                    raise OwnerElsewhere(
                        f"{owner} already has a circuit from {mine.from_end_point} to"
                        f" {mine.to_end_point}.",
                        next_step="Release it first.",
                    )
                return Reservation(mine, shared=len(mine.owners) > 1)
            self.plan(from_, to, purpose)  # what can never be, is refused and does not wait
            request = Waiting(owner, purpose, from_, to, requested_at or self._clock.now())
            # In the queue before looking: a release from now on wakes us, an earlier one is seen.
            return self._decide(self._ledger.wait(request))

    def establish(self, owner: str) -> Circuit:
        """Make the owner's circuit in the switch; returns when the switch's table shows it.

        Raises UnknownName (nothing reserved), KindsMixed, SwitchUnreachable, SwitchRefused,
        NotConfirmed or OutcomeUnknown; after any of them the owner still holds the ports, and can
        ask again or release.
        """
        circuit = self._owned_by(owner)
        for cross_connect in circuit.cross_connects:
            self._topology.check_cross_connect(cross_connect)
        self._check_light(circuit)
        try:
            return self._program(circuit)
        except (OutcomeUnknown, SwitchUnreachable) as error:
            # The switch may come back at once; `apply` reads its table before it acts.
            log.warning("circuit not confirmed", circuit=str(circuit.id), error=str(error))
            if not wait_connected(self._driver, circuit.chassis, self._reconnect_wait_s):
                raise
            return self._program(circuit)
        except SwitchRefused as error:
            # A port may be held by a cross-connect that nobody owns.
            reports = [self.reconcile(chassis) for chassis in sorted(circuit.chassis)]
            if not any(report.removed for report in reports):
                raise
            log.warning("stale cross-connects were in the way", error=str(error))
            return self._program(circuit)

    def release(self, owner: str) -> bool:
        """The owner leaves its circuit and the queue; the last one's leaving tears down.

        False when the switch could not confirm the tear-down yet: the ports stay taken, and the
        next reconciliation finishes it. Nothing owned is True.
        """
        left = self._ledger.leave(owner)
        if left is None or left.state is not CircuitState.RELEASING:
            self._tell()  # its place in the queue, or its hold on a shared circuit, is gone
            return True
        return self._tear_down(left)

    # --- looking

    def circuits(self) -> list[Circuit]:
        """All circuits, oldest first."""
        return self._ledger.circuits()

    def waiting(self) -> list[Waiting]:
        """Who waits for a circuit, first come first."""
        return self._ledger.waiting()

    # --- the switch's table is the truth

    def reconcile(self, chassis: str) -> Reconciliation:
        """Make the switch hold exactly what is owned. Raises what the driver raises."""
        with self._programming:
            table = self._driver.read_cross_connects(chassis)
            circuits = [c for c in self._ledger.circuits() if chassis in c.chassis]
            made = [c for c in circuits if c.state in (CircuitState.ESTABLISHING, CircuitState.UP)]
            owned = {x for c in made for x in c.cross_connects if x.chassis == chassis}
            removed, remade = table - owned, owned - table
            # What is to be released is parted whether the table shows it or not.
            released_too = {
                x
                for c in circuits
                if c.state is CircuitState.RELEASING
                for x in c.cross_connects
                if x.chassis == chassis
            }
            if removed or remade or released_too:
                self._driver.apply(disconnect=removed | released_too, connect=remade)
            for circuit in made:
                if circuit.chassis == {chassis}:
                    self._mark_up(circuit, self._clock.now())
            released = [
                c.id
                for c in circuits
                if c.state is CircuitState.RELEASING
                and c.chassis == {chassis}
                and self._ledger.remove(c.id)
            ]
        # What lies on several chassis needs all of them.
        for circuit in circuits:
            if circuit.state is CircuitState.RELEASING and circuit.chassis != {chassis}:
                self._tear_down(circuit)
        if released:
            self._tell()
        return Reconciliation(tuple(sorted(removed)), tuple(sorted(remade)), tuple(released))

    def _on_device(self, event: DeviceEvent) -> None:
        if isinstance(event, ConnectivityEvent) and event.connected:
            self._reconcile_and_log(event.chassis)

    def _reconcile_and_log(self, chassis: str) -> None:
        try:
            report = self.reconcile(chassis)
        except SdnError as error:
            # The next connection, or the next establish that is refused, tries again.
            log.error("reconciliation failed", chassis=chassis, error=str(error))
            return
        log.info(
            "reconciled",
            chassis=chassis,
            removed=[str(x) for x in report.removed],
            remade=[str(x) for x in report.remade],
            released=len(report.released),
        )

    # --- deciding

    def _decide(self, request: Waiting) -> Reservation | NotFree:
        circuits = self._ledger.circuits()
        ahead = self._ahead_of(request)
        for circuit in circuits:
            if (
                self._can_share(request, circuit)
                and not self._stands_in_the_way(circuit, ahead, circuits)
                and (joined := self._ledger.join(circuit.id, request.owner))
            ):
                return Reservation(joined, shared=True)
        in_use = {port: f"circuit {c.id}" for c in circuits for port in c.ports}
        self._set_aside(ahead, circuits, in_use)
        try:
            path = self._find(request, in_use)
        except (PortInUse, NoPath, LossOverBudget) as error:
            return NotFree(error.detail, request.requested_at, len(ahead))
        now = self._clock.now()
        circuit = Circuit.over(path, id=uuid4(), purpose=request.purpose, created_at=now)
        added = self._ledger.add(circuit, request.owner)
        if added is None:
            # Ports of a circuit that was there a moment ago; the queue keeps our place.
            return NotFree("The ports were taken just now.", request.requested_at, len(ahead))
        return Reservation(added, shared=False)

    def _ahead_of(self, request: Waiting) -> list[Waiting]:
        key = (request.requested_at, request.owner)
        return [w for w in self._ledger.waiting() if (w.requested_at, w.owner) < key]

    def _set_aside(
        self, ahead: Collection[Waiting], circuits: Collection[Circuit], in_use: dict[PortRef, str]
    ) -> None:
        """Mark in `in_use` the ports that earlier requests could have now."""
        promised: list[tuple[Purpose, LightPath]] = []
        for earlier in ahead:
            if any(self._can_share(earlier, circuit) for circuit in circuits):
                continue
            if earlier.purpose.is_shared and any(
                purpose is earlier.purpose and self._matches(path, earlier)
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
        in_use = {port: str(c.id) for c in circuits for port in c.ports}
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

    def _find(self, request: Waiting, in_use: dict[PortRef, str]) -> LightPath:
        return self._finder.find(
            request.from_end_point,
            request.to_end_point,
            request.purpose.kind,
            in_use=in_use,
            disabled=self._disabled_ports(),
        )

    def _disabled_ports(self) -> set[PortRef]:
        states = self._driver.chassis_states()
        return {PortRef(name, port) for name, s in states.items() for port in s.unusable_ports}

    def _can_share(self, request: Waiting, circuit: Circuit) -> bool:
        return (
            request.purpose.is_shared
            and circuit.state in OWNED
            and self._joins(circuit, request.from_end_point, request.to_end_point, request.purpose)
        )

    def _joins(self, circuit: Circuit, from_: str, to: str, purpose: Purpose) -> bool:
        return (
            circuit.purpose is purpose
            and circuit.from_end_point in self._names(from_, purpose)
            and circuit.to_end_point in self._names(to, purpose)
        )

    def _matches(self, path: LightPath, request: Waiting) -> bool:
        return path.from_end_point in self._names(
            request.from_end_point, request.purpose
        ) and path.to_end_point in self._names(request.to_end_point, request.purpose)

    def _names(self, name: str, purpose: Purpose) -> set[str]:
        return {e.name for e in self._topology.end_points_of(name, purpose.kind)}

    # --- programming

    def _owned_by(self, owner: str) -> Circuit:
        circuit = self._ledger.circuit_of(owner)
        if circuit is None:
            raise UnknownName(f"{owner} has no circuit.", next_step="Reserve one first.")
        return circuit

    def _check_light(self, circuit: Circuit) -> None:
        """Refuse a circuit whose ends are not what its purpose needs (the file may have changed
        since it was reserved)."""
        kind = circuit.purpose.kind
        ends: list[EndPoint] = [
            self._topology.end_point_named(name)
            for name in (circuit.from_end_point, circuit.to_end_point)
        ]
        wrong = [str(p) for p in circuit.ports if not self._admits(p, circuit)]
        wrong += [e.name for e in ends if e.kind is not kind]
        if wrong:
            raise KindsMixed(
                f"{', '.join(wrong)}: not for {kind} light.",
                next_step="Correct the topology file, or release the circuit.",
            )

    def _admits(self, port: PortRef, circuit: Circuit) -> bool:
        light = self._topology.kind_of_port(port)
        return light is not None and light.admits(circuit.purpose.kind)

    def _program(self, circuit: Circuit) -> Circuit:
        with self._programming:
            # Journal first: after a crash the ledger says that the switch may hold something.
            # A circuit that is up stays up, and is verified again.
            startable = (CircuitState.RESERVED, CircuitState.ESTABLISHING)
            if not (
                self._ledger.move(circuit.id, startable, CircuitState.ESTABLISHING)
                or self._ledger.move(circuit.id, (CircuitState.UP,), CircuitState.UP)
            ):
                raise UnknownName(
                    f"The circuit {circuit.id} was released meanwhile.",
                    next_step="Reserve a new one.",
                )
            try:
                self._driver.apply(connect=circuit.cross_connects)
            except (SwitchRefused, NotConfirmed):
                # Known to be dark again, so a reconciliation need not try it.
                asked = (CircuitState.ESTABLISHING,)
                self._ledger.move(circuit.id, asked, CircuitState.RESERVED)
                raise
            now = self._clock.now()
            if self._mark_up(circuit, now):
                return replace(circuit, state=CircuitState.UP, established_at=now)
            return replace(circuit, state=CircuitState.UP)

    def _mark_up(self, circuit: Circuit, now: datetime) -> bool:
        asked = (CircuitState.ESTABLISHING,)
        return self._ledger.move(circuit.id, asked, CircuitState.UP, now)

    def _tear_down(self, circuit: Circuit) -> bool:
        with self._programming:
            try:
                self._driver.apply(disconnect=circuit.cross_connects)
            except SdnError as error:
                log.warning(
                    "tear-down waits for the switch", circuit=str(circuit.id), error=str(error)
                )
                return False
            self._ledger.remove(circuit.id)
        self._tell()
        return True

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()
