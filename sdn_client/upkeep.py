"""What has to be looked after while circuits stand: drift, lost fibres, holds that end.

What the devices hold and what we believe is compared again and again. A difference is shown, and
settled one way by `CircuitService.reconcile` (the devices are changed) or the other by `adopt`
(our records are). The watch itself changes a device only where the settings say so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID, uuid4

import structlog

from sdn_client.circuits import CircuitService
from sdn_client.drift import ChassisDrift, compare, lost_ports, trace
from sdn_client.drivers.port import CircuitDriver, DeviceEvent
from sdn_client.errors import NotAdoptable, SdnError, SwitchUnreachable
from sdn_client.ledger import OWNED, Circuit, CircuitLedger, CircuitState, Purpose
from sdn_client.paths import LightPath
from sdn_client.topology import LightKind, Topology
from timekeeping import Clock

log = structlog.get_logger(__name__)

Repair = Literal["show", "devices"]
"""What the watch does about drift: show it, or make the devices hold what is owned."""


@dataclass(frozen=True)
class Adoption:
    """How the records were changed to what a device holds."""

    given_up: tuple[UUID, ...]
    """Circuits of which the device had lost a part."""
    adopted: tuple[UUID, ...]
    """New circuits over cross-connects that somebody else made."""


class CircuitUpkeep:
    """One per network; safe from any thread."""

    def __init__(
        self,
        service: CircuitService,
        driver: CircuitDriver,
        topology: Topology,
        ledger: CircuitLedger,
        clock: Clock,
        *,
        look_every_s: float = 5.0,
        repair: Repair = "show",
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """Of several processes that share a network the one that `leads` looks after it; the
        others compare and show."""
        self._service = service
        self._driver = driver
        self._topology = topology
        self._ledger = ledger
        self._clock = clock
        self._look_every_s = look_every_s
        self._repair = repair
        self._leads = leads
        self._seen: tuple[ChassisDrift, ...] = ()
        self._woken = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._watch, name="circuit-watch", daemon=True)
        self._unsubscribe: Callable[[], None] = lambda: None

    # --- life

    def start(self) -> None:
        """Look now, at every word of a device, and every `look_every_s`."""
        self._unsubscribe = self._driver.subscribe(self._on_device)
        self._thread.start()

    def close(self) -> None:
        """Stop looking; circuits stay as they are."""
        self._unsubscribe()
        self._closing = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def last_seen(self) -> tuple[ChassisDrift, ...]:
        """The drift at the last look, one for each chassis; without waiting for a device."""
        return self._seen

    def look(self) -> tuple[ChassisDrift, ...]:
        """Everything that is due now, then the drift that is left."""
        leads = self._leads()
        if leads:
            self.release_expired()
            self.route_around_lost_ports()
            self.finish_what_was_begun()
        drift = self.drift()
        if leads and self._repair == "devices" and self._repaired(drift):
            drift = self.drift()
        if drift != self._seen:
            for one in drift:
                if not one.is_none:
                    log.warning("drift", **_told(one))
        self._seen = drift
        return drift

    def _watch(self) -> None:
        while True:
            self._woken.clear()
            if self._closing:  # looked at after clearing: whoever closes sets both
                return
            try:
                self.look()
            except Exception as error:  # without this thread no hold ends and no fibre is missed
                log.error("looking after circuits failed", exc_info=error)
            self._clock.wait(self._woken, self._look_every_s)

    def _on_device(self, _: DeviceEvent) -> None:
        self._woken.set()

    def _repaired(self, drift: tuple[ChassisDrift, ...]) -> bool:
        changed = False
        for one in drift:
            if one.stray or one.missing:
                try:
                    report = self._service.reconcile(one.chassis)
                except SdnError as error:
                    log.warning("drift not repaired", chassis=one.chassis, error=str(error))
                    continue
                log.info("drift repaired", chassis=one.chassis, removed=len(report.removed))
                changed = True
        return changed

    # --- drift

    def drift(self) -> tuple[ChassisDrift, ...]:
        """What each chassis holds beside what we believe, by name; nothing is changed."""
        return tuple(self._drift_of(name) for name in sorted(self._driver.chassis_states()))

    def _drift_of(self, chassis: str) -> ChassisDrift:
        seen = self._compared(chassis)
        if not seen.stray:
            return seen
        # A circuit that came and went within one reading is in the table and in no record.
        again = self._compared(chassis)
        return replace(again, stray=tuple(x for x in again.stray if x in seen.stray))

    def _compared(self, chassis: str) -> ChassisDrift:
        self._topology.chassis_named(chassis)
        state = self._driver.chassis_states()[chassis]
        before = self._ledger.circuits()
        lost = lost_ports(chassis, state, before)
        at_work = set(self._service.programming.at_work)
        try:
            table = self._driver.read_cross_connects(chassis)
        except SdnError as error:
            return ChassisDrift(chassis, lost=lost, unread=state.fault or error.detail)
        after = self._ledger.circuits()
        at_work |= set(self._service.programming.at_work)
        return replace(compare(chassis, table, before, after, at_work), lost=lost)

    def adopt(self, chassis: str, by: str) -> Adoption:
        """Change our records to what the device holds: the other direction of `reconcile`.

        A circuit of which the device lost a part is given up: its owners have none any more.
        Cross-connects that somebody else made become circuits that `by` owns. Raises UnknownName,
        SwitchUnreachable, or NotAdoptable (and changes nothing) where they lead from no end point
        to another.
        """
        drift = self._drift_of(chassis)
        if drift.unread:
            raise SwitchUnreachable(drift.unread, next_step="Ask again when it is there.")
        paths, left = trace(self._topology, drift.stray)
        if left:
            raise NotAdoptable(
                f"{', '.join(str(x) for x in left)}: no light leads from one end point to another.",
                next_step="Repair the device instead, or part them there.",
            )
        lacking = {id_ for _, id_ in drift.missing}
        given_up = [c for c in self._ledger.circuits() if c.id in lacking]
        adopted = {path: self._adopted(path, by) for path in paths}
        for circuit in given_up:
            for owner in circuit.owners:
                self._service.release(owner)
        # Ports that were of a circuit given up are free only now.
        adopted |= {p: self._adopted(p, by) for p, circuit in adopted.items() if circuit is None}
        new = tuple(circuit.id for circuit in adopted.values() if circuit is not None)
        return Adoption(tuple(c.id for c in given_up), new)

    def _adopted(self, path: LightPath, by: str) -> Circuit | None:
        """None where a port was taken by a circuit this moment."""
        now = self._clock.now()
        is_quantum = path.kind is LightKind.QUANTUM
        circuit = Circuit.over(
            path,
            id=uuid4(),
            purpose=Purpose.QUANTUM_TURN if is_quantum else Purpose.IMAGE_TRANSFER,
            created_at=now,
            bandwidth_class=self._service.allocation.bandwidth_of(path),
            state=CircuitState.UP,
        )
        circuit = replace(circuit, established_at=now)
        return self._ledger.add(circuit, f"{by}:{circuit.id}")

    # --- lost fibres, and holds that end

    def release_expired(self) -> list[str]:
        """End every hold whose time is over; the owners."""
        now = self._clock.now()
        over = [o for c in self._ledger.circuits() for o, until in c.until.items() if until <= now]
        for owner in over:
            log.info("the hold on a circuit ended", owner=owner)
            self._service.release(owner)
        return over

    def finish_what_was_begun(self) -> None:
        """Ask again for circuits that were left half-made or half-parted without the connection
        being lost; nobody else would before the switch reconnects."""
        states = self._driver.chassis_states()
        begun = (CircuitState.ESTABLISHING, CircuitState.RELEASING)
        at_work = self._service.programming.at_work
        for circuit in self._ledger.circuits():
            if circuit.state not in begun or circuit.id in at_work:
                continue
            if not all(name in states and states[name].connected for name in circuit.chassis):
                continue
            try:
                self._service.finish(circuit)
            except SdnError as error:
                log.warning("circuit not finished", circuit=str(circuit.id), reason=error.detail)

    def route_around_lost_ports(self) -> list[Circuit]:
        """Lead classical circuits around ports that fell out; those that found another way.

        A turn of Alice is not led elsewhere: its units initialise for minutes, and the schedule
        knows better (`CircuitService.loss_of_light` tells it). A circuit without another way stays
        as it is, and passes light again when the fibre is mended.
        """
        unusable = self._service.allocation.unusable_ports()
        moved = []
        for circuit in self._ledger.circuits() if unusable else []:
            if not (
                circuit.state in OWNED
                and circuit.purpose.is_shared
                and unusable & set(circuit.ports)
            ):
                continue
            try:
                if (elsewhere := self._service.lead_around(circuit)) is not None:
                    moved.append(elsewhere)
            except SdnError as error:
                log.warning("no other way", circuit=str(circuit.id), reason=error.detail)
        return moved


def _told(drift: ChassisDrift) -> dict[str, object]:
    told: dict[str, object] = {"chassis": drift.chassis}
    if drift.stray:
        told["stray"] = [str(x) for x in drift.stray]
    if drift.missing:
        told["missing"] = [str(x) for x, _ in drift.missing]
    if drift.lost:
        told["lost"] = [str(port) for port, _ in drift.lost]
    if drift.unread:
        told["unread"] = drift.unread
    return told
