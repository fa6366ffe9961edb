"""The life of an agent: connected to the controller while the device is there, and only then."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog

from sdn_client.drivers.port import CircuitDriver, ConnectivityEvent, DeviceEvent
from sdn_client.errors import SdnError, SwitchUnreachable
from sdn_client.openflow13.multipart import Description
from sdn_client.openflow13.structures import Port
from sdn_client.optical_agent.guard import Guard
from sdn_client.optical_agent.presented import PresentedSwitch
from sdn_client.optical_agent.refusal import Refusal
from sdn_client.optical_agent.session import Session
from sdn_client.optical_agent.settings import ControllerTable
from sdn_client.optical_agent.surroundings import MasterElection, Surroundings
from sdn_client.optical_agent.table import FlowTable
from sdn_client.topology import CrossConnect, Topology
from timekeeping import Clock
from trust.contexts import LiveContext

log = structlog.get_logger(__name__)


class OpticalAgent:
    """One OpenFlow 1.3 switch over one device. `run` in an asyncio loop, until cancelled."""

    def __init__(
        self,
        device: CircuitDriver,
        topology: Topology,
        presented: PresentedSwitch,
        controller: ControllerTable,
        clock: Clock,
        *,
        quiet_s: float = 0.003,
    ) -> None:
        self._device = device
        self._presented = presented
        self._controller = controller
        self._guard = Guard(topology, presented)
        self._table = FlowTable(device, presented, self._guard, clock)
        # One thread: the device is asked one thing at a time.
        self._device_thread = ThreadPoolExecutor(1, "device")
        self._tls = (
            LiveContext(controller.tls.credentials, server=False) if controller.tls else None
        )
        begun_s = clock.monotonic()
        self._around = Surroundings(
            self._table,
            self._device_thread,
            self._ports,
            lambda: clock.monotonic() - begun_s,
            presented.datapath_id,
            Description("qnfv", "optical fibre switch", "qnfv optical agent", "", presented.name),
            MasterElection(),
            quiet_s,
            controller.handshake_timeout_s,
            controller.idle_s,
        )
        self._session: Session | None = None
        self._device_changed = asyncio.Event()
        self._device_went = False
        self._complaint = ""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()

        def on_device(event: DeviceEvent) -> None:
            if event.chassis == self._presented.chassis and not loop.is_closed():
                loop.call_soon_threadsafe(self._on_device, event)

        unsubscribe = self._device.subscribe(on_device)
        try:
            while True:
                await self._device_there()
                try:
                    await self._serve_once()
                except* (OSError, SdnError) as group:
                    self._complain_once(_reasons(group))
                await asyncio.sleep(self._controller.reconnect_s)
        finally:
            unsubscribe()
            # A batch on its way is seen to its end: what the device holds is then known.
            self._device_thread.shutdown(cancel_futures=True)

    # --- the device

    def _on_device(self, event: DeviceEvent) -> None:
        if isinstance(event, ConnectivityEvent):
            # Also when it came: a switch that restarted has another table than the one we know.
            self._table.doubt()
            self._device_went |= not event.connected
            self._device_changed.set()
        elif self._session is not None:
            self._session.ports_changed()

    def _is_there(self) -> bool:
        return self._device.chassis_states()[self._presented.chassis].connected

    async def _device_there(self) -> None:
        while True:
            self._device_changed.clear()
            self._device_went = False
            if self._is_there():
                return
            log.info("waiting for the device", chassis=self._presented.chassis)
            await self._device_changed.wait()

    def _ports(self) -> tuple[Port, ...]:
        state = self._device.chassis_states()[self._presented.chassis]
        return self._presented.port_descriptions(state)

    # --- the controller

    async def _serve_once(self) -> None:
        """One connection to the controller, from reading the device's table to its end."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._until_device_changes())
            tasks.create_task(self._connect_and_serve())

    async def _until_device_changes(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._device_changed.wait()
            self._device_changed.clear()
            if self._device_went or not self._is_there():
                raise SwitchUnreachable(
                    f"The device {self._presented.chassis} went away.",
                    next_step="The controller is connected again when the device is there.",
                )
            # A driver also tells so when another's hand changed the table. Who shares the chassis
            # may do that on ports that are not presented here.
            if await loop.run_in_executor(self._device_thread, self._table.changed_elsewhere):
                raise SwitchUnreachable(
                    f"The table of {self._presented.chassis} changed without the agent.",
                    next_step="The controller is connected again and can read it.",
                )
            if self._session is not None:
                self._session.ports_changed()

    async def _connect_and_serve(self) -> None:
        loop = asyncio.get_running_loop()
        flows = await loop.run_in_executor(self._device_thread, self._table.read)
        for flow in flows:
            self._complain(flow.in_port, flow.out_port)
        to = self._controller
        try:
            async with asyncio.timeout(to.handshake_timeout_s):
                reader, writer = await asyncio.open_connection(
                    to.host,
                    to.port,
                    ssl=self._tls.current if self._tls else None,
                    server_hostname=to.tls.server_name if to.tls else None,
                )
        except OSError as error:
            raise ConnectionError(
                f"no connection to {to.host}:{to.port}: {error or type(error).__name__}"
            ) from error
        log.info(
            "connected to the controller",
            controller=f"{to.host}:{to.port}",
            datapath_id=f"{self._presented.datapath_id:016x}",
            cross_connects=len(flows),
        )
        self._complaint = ""
        self._session = Session(writer, self._around)
        try:
            await self._session.run(reader)
        finally:
            self._session = None
            writer.transport.abort()

    def _complain_once(self, reason: str) -> None:
        """A controller that is away for long is not told of at each attempt."""
        tell = log.debug if reason == self._complaint else log.warning
        self._complaint = reason
        tell("not connected to the controller", reason=reason)

    def _complain(self, a: int, b: int) -> None:
        """A cross-connect that the guard would refuse, found in the device, is shown as it is."""
        try:
            self._guard.check(CrossConnect(self._presented.chassis, a, b))
        except Refusal as refusal:
            log.error("the device holds what must not be", ports=[a, b], reason=str(refusal))


def _reasons(group: BaseExceptionGroup[BaseException]) -> str:
    """What the errors in `group` say, at whatever depth."""
    return "; ".join(
        _reasons(e) if isinstance(e, BaseExceptionGroup) else str(e) or type(e).__name__
        for e in group.exceptions
    )
