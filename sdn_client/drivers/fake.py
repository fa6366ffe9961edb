"""An optical switch in memory, for unit tests: takes time if asked, and fails on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

from sdn_client.drivers.port import ChassisState, ConnectivityEvent, DeviceEvent, PortsChanged
from sdn_client.errors import OutcomeUnknown, RequestRefused, SwitchRefused, SwitchUnreachable
from sdn_client.topology import CrossConnect, PortRef, Topology
from timekeeping import Clock

_TELLER = "fake-circuit-events"


class Fault(Enum):
    """What happens to the next `apply`."""

    REFUSE = "the switch refuses"
    LOSE_BEFORE = "the connection breaks before the switch acts"
    LOSE_AFTER = "the switch acts, then the connection breaks"


class FakeCircuitDriver:
    """Obeys the contract of `CircuitDriver`; `table` is the device's memory.

    With `clock`, a batch that moves mirrors takes the chassis' switching time of that clock.
    """

    def __init__(
        self, topology: Topology, clock: Clock | None = None, *, connected: bool = True
    ) -> None:
        self._topology = topology
        self._clock = clock
        self._lock = threading.RLock()
        self._listeners: list[Callable[[DeviceEvent], None]] = []
        self._teller = ThreadPoolExecutor(1, _TELLER)
        self._connected = {c.name: connected for c in topology.chassis}
        self._dark: set[PortRef] = set()
        self._next_fault: Fault | None = None
        self.table: set[CrossConnect] = set()
        self.batches = 0
        """How many batches moved mirrors."""

    # --- what a test does to the device

    def fail_next(self, fault: Fault) -> None:
        self._next_fault = fault

    def clear_faults(self) -> None:
        self._next_fault = None

    def lose(self, chassis: str, *, forget: bool = False) -> None:
        """The connection breaks; with `forget` the device lost its table too.

        Returns when the listeners have been told, unless a listener calls it.
        """
        with self._lock:
            if forget:
                self.table = {x for x in self.table if x.chassis != chassis}
            self._connected[chassis] = False
        self._tell(ConnectivityEvent(chassis, connected=False), wait=True)

    def come_back(self, chassis: str) -> None:
        """The connection is there again; returns like `lose`."""
        with self._lock:
            self._connected[chassis] = True
        self._tell(ConnectivityEvent(chassis, connected=True), wait=True)

    def darken(self, *ports: PortRef) -> None:
        """Light is missing on `ports` and on no other; returns like `lose`."""
        with self._lock:
            changed = {p.chassis for p in self._dark ^ set(ports)}
            self._dark = set(ports)
        for chassis in sorted(changed):
            self._tell(PortsChanged(chassis), wait=True)

    # --- CircuitDriver

    def chassis_states(self) -> Mapping[str, ChassisState]:
        with self._lock:
            return {
                chassis.name: ChassisState(
                    self._connected[chassis.name],
                    ports=frozenset(range(1, chassis.ports + 1)),
                    ports_dark=frozenset(p.port for p in self._dark if p.chassis == chassis.name),
                )
                for chassis in self._topology.chassis
            }

    def apply(
        self,
        *,
        connect: Collection[CrossConnect] = (),
        disconnect: Collection[CrossConnect] = (),
    ) -> None:
        lost: str | None = None
        with self._lock:
            for chassis in {x.chassis for x in (*connect, *disconnect)}:
                self._reach(chassis)
                lost = chassis
            fault, self._next_fault = self._next_fault, None
            if fault is Fault.REFUSE:
                raise SwitchRefused("The switch refused: told to.", next_step="Ask again.")
            moved = False
            if fault is not Fault.LOSE_BEFORE:
                moved = self._change(connect, disconnect)
        if moved and self._clock is not None:
            longest_ms = max(c.switching_time_ms for c in self._topology.chassis)
            self._clock.wait(threading.Event(), longest_ms / 1000)
        if lost is not None and fault in (Fault.LOSE_BEFORE, Fault.LOSE_AFTER):
            with self._lock:
                self._connected[lost] = False
            self._tell(ConnectivityEvent(lost, connected=False), wait=False)
            raise OutcomeUnknown("The connection broke.", next_step="Read the table again.")

    def read_cross_connects(self, chassis: str) -> frozenset[CrossConnect]:
        with self._lock:
            self._reach(chassis)
            return frozenset(x for x in self.table if x.chassis == chassis)

    def subscribe(self, listener: Callable[[DeviceEvent], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        with self._lock:
            self._connected = dict.fromkeys(self._connected, False)
        self._teller.shutdown()

    def _reach(self, chassis: str) -> None:
        if not self._connected.get(chassis, False):
            raise SwitchUnreachable(
                f"The switch {chassis} is not connected.", next_step="Start it, then ask again."
            )

    def _change(
        self, connect: Collection[CrossConnect], disconnect: Collection[CrossConnect]
    ) -> bool:
        before = set(self.table)
        self.table -= set(disconnect)
        parted = set(self.table)
        for new in connect:
            used = {port: x for x in self.table for port in x.ports}
            try:
                self._check(new, used)
            except RequestRefused as error:
                self.table = parted
                raise SwitchRefused(
                    f"The switch refused {new}: {error.detail}", next_step=error.next_step
                ) from error
            self.table.add(new)
        self.batches += self.table != before
        return self.table != before

    def _check(self, new: CrossConnect, used: Mapping[PortRef, CrossConnect]) -> None:
        a, b = new.ports
        self._topology.chassis_named(new.chassis).check_pair(a.port, b.port)
        if self._topology.virtual_switch_of(a) is not self._topology.virtual_switch_of(b):
            raise RequestRefused(f"{new} leaves its partition.")
        for port in (a, b):
            if used.get(port, new) != new:
                raise RequestRefused(f"{port} is joined as {used[port]}.")

    def _tell(self, event: DeviceEvent, *, wait: bool) -> None:
        def tell() -> None:
            for listener in list(self._listeners):
                listener(event)

        told = self._teller.submit(tell)
        if wait and not threading.current_thread().name.startswith(_TELLER):
            told.result()
