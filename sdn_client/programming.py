"""Switch and ledger change together, one circuit at a time.

Journal first: the ledger says that the switch may hold something before the switch is asked, so
that after a crash nothing that passes light is unknown.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from sdn_client.drivers.port import CircuitDriver
from sdn_client.errors import (
    NotConfirmed,
    SdnError,
    SwitchRefused,
    SwitchUnreachable,
    UnknownName,
)
from sdn_client.ledger import Circuit, CircuitLedger, CircuitState
from sdn_client.paths import LightPath
from sdn_client.topology import CrossConnect
from timekeeping import Clock

log = structlog.get_logger(__name__)

_ASKED = (CircuitState.ESTABLISHING,)
_MADE = (CircuitState.ESTABLISHING, CircuitState.UP)


@dataclass(frozen=True)
class Reconciliation:
    """What it took to make the switches and the ledger agree."""

    removed: tuple[CrossConnect, ...] = ()
    remade: tuple[CrossConnect, ...] = ()
    released: tuple[UUID, ...] = ()


class Programming:
    """One per network; safe from any thread. Raises what the driver raises."""

    def __init__(
        self,
        driver: CircuitDriver,
        ledger: CircuitLedger,
        clock: Clock,
        *,
        one_at_a_time: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        """`one_at_a_time` is entered around each change of a device and of the ledger with it;
        where several processes share both, it keeps those apart too."""
        self._driver = driver
        self._ledger = ledger
        self._clock = clock
        lock = threading.Lock()
        self._one_at_a_time = one_at_a_time or (lambda: lock)
        self._is_shared = one_at_a_time is not None
        self._counting = threading.Lock()
        self._at_work: Counter[UUID] = Counter()
        self._led_over: set[UUID] = set()

    @property
    def at_work(self) -> Collection[UUID]:
        """The circuits that change now, or as soon as it is their turn; a difference in them is
        no drift."""
        with self._counting:
            return frozenset(self._at_work)

    def make(self, circuit: Circuit, *, fresh: bool = False) -> Circuit:
        """The circuit as it is when the switch's table shows it. UnknownName if it was released.

        `fresh`: it was journaled as establishing when its ports were taken, just now.
        """
        made = self._make(circuit, fresh=fresh)
        if made is None:
            # Perhaps long ago, and this process was stopped: what it joined late is nobody's.
            self._straighten(circuit)
            raise _released_meanwhile(circuit)
        return made

    def _make(self, circuit: Circuit, *, fresh: bool) -> Circuit | None:
        with self._working_on(circuit):
            was_dark = fresh or circuit.state is CircuitState.RESERVED
            if not self._journaled(circuit, fresh=fresh):
                raise _released_meanwhile(circuit)
            circuit = self._as_it_lies(circuit, fresh=fresh)
            try:
                self._driver.apply(connect=circuit.cross_connects)
            except (SwitchRefused, NotConfirmed):
                # Known to be dark again, so a reconciliation need not try it.
                self._ledger.move(circuit.id, _ASKED, CircuitState.RESERVED)
                raise
            except SwitchUnreachable:
                if was_dark:  # and still is: nothing was sent
                    self._ledger.move(circuit.id, _ASKED, CircuitState.RESERVED)
                raise
            return self._up(circuit)

    def _journaled(self, circuit: Circuit, *, fresh: bool) -> bool:
        """Whether the ledger says that the switch may hold the circuit."""
        if fresh and self._ledger.state_of(circuit.id) is CircuitState.ESTABLISHING:
            return True  # as it was journaled
        # A circuit that is up stays up, and is verified again.
        asked = (CircuitState.RESERVED, CircuitState.ESTABLISHING)
        return self._ledger.move(circuit.id, asked, CircuitState.ESTABLISHING) or self._ledger.move(
            circuit.id, (CircuitState.UP,), CircuitState.UP
        )

    def _as_it_lies(self, circuit: Circuit, *, fresh: bool) -> Circuit:
        """`circuit` over the path that it has in the ledger: it may have been led elsewhere since
        the caller looked."""
        if fresh and not self._is_shared and circuit.id not in self._led_over:
            return circuit
        return next((c for c in self._ledger.circuits() if c.id == circuit.id), circuit)

    def lead_over(self, circuit: Circuit, path: LightPath) -> Circuit | None:
        """The circuit over another path, in one batch.

        None where it was released, or the path's ports were taken, this moment.
        """
        with self._working_on(circuit):
            self._led_over.add(circuit.id)
            moved = self._ledger.reroute(circuit.id, path)
            if moved is None or moved.state is not CircuitState.ESTABLISHING:
                return moved
            old = set(circuit.cross_connects) - set(moved.cross_connects)
            self._driver.apply(disconnect=old, connect=moved.cross_connects)
            up = self._up(moved)
            self._ledger.let_go(circuit.id)
            return up

    def tear_down(self, circuit: Circuit) -> bool:
        """Whether the switch confirmed, so that the ports are free."""
        with self._working_on(circuit):
            if self._ledger.state_of(circuit.id) is not CircuitState.RELEASING:
                return True  # a reconciliation did it, and the ports may be another's by now
            try:
                self._driver.apply(disconnect=circuit.cross_connects)
            except SdnError as error:
                log.warning(
                    "tear-down waits for the switch", circuit=str(circuit.id), error=str(error)
                )
                return False
            was_ours = self._ledger.remove(circuit.id)
            self._led_over.discard(circuit.id)
        if not was_ours:
            # This process was stopped in the middle, another tore it down, and the ports that were
            # parted late may be another circuit's by now.
            self._straighten(circuit)
        return True

    def _straighten(self, circuit: Circuit) -> None:
        """Make devices agree with the ledger again where this circuit lay."""
        log.warning("changed late, so its switches are compared", circuit=str(circuit.id))
        for chassis in sorted(circuit.chassis):
            try:
                self.reconcile(chassis)
            except SdnError as error:  # its next connection tries again; until then it is drift
                log.error("not reconciled", chassis=chassis, error=str(error))

    def reconcile(self, chassis: str) -> Reconciliation:
        """Make the switch hold exactly what is owned."""
        with self._one_at_a_time():
            table = self._driver.read_cross_connects(chassis)
            known = self._ledger.circuits()
            circuits = [c for c in known if chassis in c.chassis]
            made = [c for c in circuits if c.state in _MADE]
            owned = {x for c in made for x in c.cross_connects if x.chassis == chassis}
            removed, remade = table - owned, owned - table
            leaving = [c for c in circuits if c.state is CircuitState.RELEASING]
            # What is to be released is parted whether the table shows it or not.
            parted = {x for c in leaving for x in c.cross_connects if x.chassis == chassis}
            if removed or remade or parted:
                self._driver.apply(disconnect=removed | parted, connect=remade)
            for circuit in made:
                if circuit.chassis == {chassis}:
                    self._up(circuit)
            for circuit in known:
                self._ledger.let_go(circuit.id, chassis)  # what a reroute left is parted here
            released = [
                c.id for c in leaving if c.chassis == {chassis} and self._ledger.remove(c.id)
            ]
        # What lies on several chassis needs all of them.
        released += [c.id for c in leaving if c.chassis != {chassis} and self.tear_down(c)]
        return Reconciliation(tuple(sorted(removed)), tuple(sorted(remade)), tuple(released))

    def _up(self, circuit: Circuit) -> Circuit | None:
        """None where it was released while its mirrors turned."""
        now = self._clock.now()
        if self._ledger.move(circuit.id, _ASKED, CircuitState.UP, now):
            return replace(circuit, state=CircuitState.UP, established_at=now)
        if self._ledger.state_of(circuit.id) is CircuitState.UP:  # and was verified again
            return replace(circuit, state=CircuitState.UP)
        return None

    @contextmanager
    def _working_on(self, circuit: Circuit) -> Iterator[None]:
        with self._counting:
            self._at_work[circuit.id] += 1
        try:
            with self._one_at_a_time():
                yield
        finally:
            with self._counting:
                self._at_work[circuit.id] -= 1
                self._at_work += Counter()  # without those at zero


def _released_meanwhile(circuit: Circuit) -> UnknownName:
    return UnknownName(
        f"The circuit {circuit.id} was released meanwhile.", next_step="Reserve a new one."
    )
