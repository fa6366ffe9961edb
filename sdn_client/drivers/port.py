"""What a driver of the optical switch can do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from sdn_client.topology import CrossConnect


@dataclass(frozen=True)
class ChassisState:
    """What is known of one chassis now.

    `fault` says why a chassis that answered is not used. `ports` are those that the device has,
    `ports_down` those that it calls administratively down, `ports_dark` those on which it misses
    light that should be there (a lost fibre).
    """

    connected: bool
    fault: str = ""
    ports: frozenset[int] = frozenset()
    ports_down: frozenset[int] = frozenset()
    ports_dark: frozenset[int] = frozenset()

    @property
    def unusable_ports(self) -> frozenset[int]:
        return self.ports_down | self.ports_dark


@dataclass(frozen=True)
class ConnectivityEvent:
    """A chassis came or went. At every coming, its table has to be read again."""

    chassis: str
    connected: bool


@dataclass(frozen=True)
class PortsChanged:
    """Ports of a chassis went down or dark, or came back; `chassis_states` says which."""

    chassis: str


DeviceEvent = ConnectivityEvent | PortsChanged


class CircuitDriver(Protocol):
    """Cross-connects in and out of the device. Every method is safe from any thread.

    A driver never believes what it has not verified: when `apply` returns, the device's own table
    was read and shows what was asked.
    """

    def chassis_states(self) -> Mapping[str, ChassisState]:
        """The state of every chassis of the topology, by name. Never blocks on the network."""
        ...

    def apply(
        self,
        *,
        connect: Collection[CrossConnect] = (),
        disconnect: Collection[CrossConnect] = (),
    ) -> None:
        """Part `disconnect`, then join `connect`, in one batch and one switching time.

        Parting what is not joined, and joining what is joined already, is no error. On
        SwitchRefused and NotConfirmed nothing of `connect` that was not there before remains
        joined; what was parted stays parted. On SwitchUnreachable nothing was sent. On
        OutcomeUnknown anything may be the case: wait for the chassis and call again, or read.
        """
        ...

    def read_cross_connects(self, chassis: str) -> frozenset[CrossConnect]:
        """The device's own table. Raises SwitchUnreachable or NotConfirmed (no read-back)."""
        ...

    def subscribe(self, listener: Callable[[DeviceEvent], None]) -> Callable[[], None]:
        """Call `listener` at every change; the answer unsubscribes.

        Events come one after another from a thread of the driver's own; a listener may call the
        driver.
        """
        ...

    def close(self) -> None:
        """Let go of the device; its cross-connects stay as they are."""
        ...


def wait_connected(driver: CircuitDriver, chassis: Collection[str], timeout_s: float) -> bool:
    """Wait until every one of `chassis` is connected; False when `timeout_s` passed first."""
    changed = threading.Condition()

    def is_there() -> bool:
        states = driver.chassis_states()
        return all(name in states and states[name].connected for name in chassis)

    def note(_: DeviceEvent) -> None:
        with changed:
            changed.notify_all()

    unsubscribe = driver.subscribe(note)
    try:
        with changed:
            return changed.wait_for(is_there, timeout_s)
    finally:
        unsubscribe()
