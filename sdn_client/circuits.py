"""Circuits: reserved in the ledger, made in the switch, owned, shared, torn down, reconciled.

    reserve(owner, ...)  ->  ports taken in the ledger, or NotFree and a place in the queue
    establish(owner)     ->  journaled, programmed in one batch, confirmed by the switch's table
    release(owner)       ->  the last owner's leaving tears down
    connect(owner, ...)  ->  the first two at once, for who does not want to wait

Each call can be repeated after a crash at any moment. The switch's own table is the truth: at every
(re)connection `reconcile` removes what nobody owns and makes again what is owned and missing; what
happens between connections is looked after in `upkeep`. Who gets which ports is decided in
`allocation`, switch and ledger change together in `programming`. Whoever waits for ports asks again
when a listener given to `on_release` is called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

import structlog

from sdn_client.allocation import Allocation, NotFree, Reservation
from sdn_client.drivers.port import (
    CircuitDriver,
    ConnectivityEvent,
    DeviceEvent,
    wait_connected,
)
from sdn_client.errors import (
    KindsMixed,
    OutcomeUnknown,
    PortInUse,
    SdnError,
    SwitchRefused,
    SwitchUnreachable,
    UnknownName,
)
from sdn_client.ledger import Circuit, CircuitLedger, CircuitState, Purpose, Snapshot, Waiting
from sdn_client.paths import LightPath
from sdn_client.programming import Programming, Reconciliation
from sdn_client.topology import BandwidthClass, EndPoint, PortRef, Topology
from timekeeping import Clock

__all__ = ["CircuitService", "NotFree", "Reconciliation", "Reservation"]

log = structlog.get_logger(__name__)


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
        one_at_a_time: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        """`reconnect_wait_s`: how long `establish` waits for a switch that is just away.
        `one_at_a_time` keeps apart the processes that share a network (`Programming`).
        """
        self._driver = driver
        self._topology = topology
        self._ledger = ledger
        self._clock = clock
        self.allocation = Allocation(driver, topology, ledger, clock)
        self.programming = Programming(driver, ledger, clock, one_at_a_time=one_at_a_time)
        self._reconnect_wait_s = reconnect_wait_s
        self._deciding = threading.Lock()  # who gets which ports
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

    def plan(
        self, from_: str, to: str, purpose: Purpose, *, bandwidth: BandwidthClass | None = None
    ) -> LightPath:
        """The path that a circuit would take on an idle network; nothing is reserved.

        Raises UnknownName, KindsMixed, BandwidthTooLow, NoPath or LossOverBudget.
        """
        return self.allocation.plan(from_, to, purpose, bandwidth)

    def alternatives(
        self,
        from_: str,
        to: str,
        purpose: Purpose,
        *,
        at_most: int = 3,
        bandwidth: BandwidthClass | None = None,
    ) -> list[LightPath]:
        """Up to `at_most` paths within the budget on an idle network, best first; as `plan`."""
        return self.allocation.alternatives(
            from_, to, purpose, at_most=at_most, bandwidth=bandwidth
        )

    def reserve(
        self,
        owner: str,
        from_: str,
        to: str,
        purpose: Purpose,
        *,
        requested_at: datetime | None = None,
        bandwidth: BandwidthClass | None = None,
        until: datetime | None = None,
    ) -> Reservation | NotFree:
        """Take ports from `from_` to `to` (end points, or nodes for any of theirs) for `owner`.

        Only the ledger changes. `requested_at` is the owner's place in the queue (default: now;
        asking again keeps the first). An owner that waits no longer must `release`, since its place
        keeps ports from later requests. At `until` the owner's hold ends by itself. Raises
        UnknownName, KindsMixed, BandwidthTooLow, NoPath, LossOverBudget, or OwnerElsewhere when the
        owner has a circuit between other ends.
        """
        wish = Waiting(owner, purpose, from_, to, requested_at or self._clock.now(), bandwidth)
        with self._deciding:
            return self.allocation.take(wish, until=until, state=CircuitState.RESERVED)

    def connect(
        self,
        owner: str,
        from_: str,
        to: str,
        purpose: Purpose,
        *,
        bandwidth: BandwidthClass | None = None,
        until: datetime | None = None,
    ) -> Circuit:
        """A circuit that is up, or an error and nothing is left of the wish.

        Raises what `reserve` and `establish` raise, and PortInUse instead of waiting.
        """
        wish = Waiting(owner, purpose, from_, to, self._clock.now(), bandwidth)
        with self._deciding:
            # Journaled as establishing in the same step: after a crash the switch may hold it.
            answer = self.allocation.take(wish, until=until, state=CircuitState.ESTABLISHING)
        if isinstance(answer, NotFree):
            self.release(owner)
            raise PortInUse(answer.reason, next_step="Wait until those ports are free.")
        try:
            return self._establish(answer.circuit, fresh=not answer.shared)
        except SdnError:
            self.release(owner)
            raise

    def establish(self, owner: str) -> Circuit:
        """Make the owner's circuit in the switch; returns when the switch's table shows it.

        Raises UnknownName (nothing reserved), KindsMixed, SwitchUnreachable, SwitchRefused,
        NotConfirmed or OutcomeUnknown; after any of them the owner still holds the ports, and can
        ask again or release.
        """
        circuit = self._ledger.circuit_of(owner)
        if circuit is None:
            raise UnknownName(f"{owner} has no circuit.", next_step="Reserve one first.")
        return self._establish(circuit)

    def _establish(self, circuit: Circuit, *, fresh: bool = False) -> Circuit:
        for cross_connect in circuit.cross_connects:
            self._topology.check_cross_connect(cross_connect)
        self._check_light(circuit)
        try:
            return self.programming.make(circuit, fresh=fresh)
        except (OutcomeUnknown, SwitchUnreachable) as error:
            # The switch may come back at once; `apply` reads its table before it acts.
            log.warning("circuit not confirmed", circuit=str(circuit.id), error=str(error))
            if not wait_connected(self._driver, circuit.chassis, self._reconnect_wait_s):
                raise
            return self.programming.make(circuit)
        except SwitchRefused as error:
            # A port may be held by a cross-connect that nobody owns.
            reports = [self.reconcile(chassis) for chassis in sorted(circuit.chassis)]
            if not any(report.removed for report in reports):
                raise
            log.warning("stale cross-connects were in the way", error=str(error))
            return self.programming.make(circuit)

    def release(self, owner: str) -> bool:
        """The owner leaves its circuit and the queue; the last one's leaving tears down.

        False when the switch could not confirm the tear-down yet: the ports stay taken, and
        `finish` or the next reconciliation ends it. Nothing owned is True.
        """
        left = self._ledger.leave(owner)
        if left is None or left.state is not CircuitState.RELEASING:
            self._tell()  # its place in the queue, or its hold on a shared circuit, is gone
            return True
        if not self.programming.tear_down(left):
            return False
        self._tell()
        return True

    # --- looking

    def circuits(self) -> list[Circuit]:
        """All circuits, oldest first."""
        return self._ledger.circuits()

    def snapshot(self) -> Snapshot:
        """Circuits and who waits for one, of the same moment."""
        return self._ledger.snapshot()

    def circuit_of(self, owner: str) -> Circuit | None:
        return self._ledger.circuit_of(owner)

    def waiting(self) -> list[Waiting]:
        """Who waits for a circuit, first come first."""
        return self._ledger.waiting()

    def loss_of_light(self, owner: str) -> str | None:
        """Why no light can pass the owner's circuit; None while nothing is known against it."""
        circuit = self._ledger.circuit_of(owner)
        ports = () if circuit is None else circuit.ports
        lost = self.allocation.unusable_ports() & set(ports)
        if not lost:
            return None
        return f"the light is lost at {', '.join(str(port) for port in sorted(lost))}"

    # --- the switch's table is the truth

    def reconcile(self, chassis: str) -> Reconciliation:
        """Make the switch hold exactly what is owned. Raises what the driver raises."""
        report = self.programming.reconcile(chassis)
        if report.released:
            self._tell()
        return report

    def lead_around(self, circuit: Circuit) -> Circuit | None:
        """Lead a circuit around its ports that fell out.

        None where it was released, or led elsewhere, this moment. Raises what the path finder and
        the driver raise.
        """
        with self._deciding:
            now = next((c for c in self._ledger.circuits() if c.id == circuit.id), None)
            if now is None or now.cross_connects != circuit.cross_connects:
                return None
            path = self.allocation.way_around(now)
            moved = self.programming.lead_over(now, path)
        if moved is not None:
            log.info(
                "circuit led around a lost fibre",
                circuit=str(circuit.id),
                cross_connects=[str(x) for x in moved.cross_connects],
            )
            self._tell()  # the old ports are free
        return moved

    def finish(self, circuit: Circuit) -> bool:
        """Go on with what was begun: join a circuit that is establishing, part one that is
        releasing. Whether the switch confirmed; raises what `establish` raises."""
        if circuit.state is CircuitState.ESTABLISHING:
            self._establish(circuit)
            return True
        if circuit.state is CircuitState.RELEASING:
            if not self.programming.tear_down(circuit):
                return False
            self._tell()
        return True

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

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()
