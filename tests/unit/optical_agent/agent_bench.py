"""What a test of the agent has in hand, and devices that misbehave."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass

from scripted_controller import Controller

from sdn_client.drivers.fake import FakeCircuitDriver
from sdn_client.errors import NotConfirmed, SwitchRefused
from sdn_client.topology import CrossConnect, Topology


@dataclass
class AgentBench:
    device: FakeCircuitDriver
    controller: Controller

    def table(self) -> set[tuple[int, int]]:
        """The device's own table."""
        return {(x.in_port, x.out_port) for x in self.device.table}


class GatedDevice(FakeCircuitDriver):
    """Its mirrors stand still while `gate` is closed; `begun` counts the batches that came."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)

    def apply(
        self,
        *,
        connect: Collection[CrossConnect] = (),
        disconnect: Collection[CrossConnect] = (),
    ) -> None:
        self.begun.release()
        assert self.gate.wait(20)
        super().apply(connect=connect, disconnect=disconnect)


class PickyDevice(FakeCircuitDriver):
    """Has a mirror that does not move: `broken` is refused, `unseen` never shows in the table."""

    def __init__(
        self,
        topology: Topology,
        *,
        broken: tuple[int, int] | None = None,
        unseen: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(topology)
        self._broken = CrossConnect("polatis-1", *broken) if broken else None
        self._unseen = CrossConnect("polatis-1", *unseen) if unseen else None
        self.asked: list[int] = []
        """How many pairs each batch had."""

    def apply(
        self,
        *,
        connect: Collection[CrossConnect] = (),
        disconnect: Collection[CrossConnect] = (),
    ) -> None:
        self.asked.append(len(connect) + len(disconnect))
        if self._broken in connect:
            raise SwitchRefused("A mirror is broken.", next_step="Mend it.")
        if self._unseen in connect:
            raise NotConfirmed("The table does not show it.", next_step="Look at the switch.")
        super().apply(connect=connect, disconnect=disconnect)


class UnreadableDevice(FakeCircuitDriver):
    """Its table can be read while `readable`."""

    readable = False

    def read_cross_connects(self, chassis: str) -> frozenset[CrossConnect]:
        if not self.readable:
            raise NotConfirmed("The table cannot be read.", next_step="Look at the switch.")
        return super().read_cross_connects(chassis)
