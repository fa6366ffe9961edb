"""The switch as a peer of the controller: requests in, answers out (CFLOW_MOD.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from emulators.polatis.device import Device
from emulators.polatis.mirrors import Refusal, Why
from sdn_client import cflow_mod as of
from sdn_client.cflow_mod import messages as wire
from sdn_client.errors import MalformedMessage
from timekeeping import Clock

log = structlog.get_logger(__name__)

_ENTRIES_PER_REPLY = 600  # 96 bytes each; a message holds 65535
_MOST_UNSENT_BYTES = 1 << 18
MOST_PORTS = 818  # what one FEATURES_REPLY holds

_ERRORS = {
    Why.PORT_IN_USE: (wire.ERROR_CFLOW_MOD_FAILED, wire.CFLOW_MOD_OVERLAP),
    Why.NOT_JOINED: (wire.ERROR_CFLOW_MOD_FAILED, wire.CFLOW_MOD_MISMATCH),
    Why.NO_FIT: (wire.ERROR_CFLOW_MOD_FAILED, wire.CFLOW_MOD_MISMATCH),
    Why.NO_SUCH_PORT: (wire.ERROR_BAD_ACTION, wire.BAD_ACTION_OUT_PORT),
    Why.TWO_PARTITIONS: (wire.ERROR_FLOW_MOD_FAILED, wire.FLOW_MOD_EPERM),
}


class NotSpoken(Exception):
    """The request itself is at fault: the OpenFlow error type and code, and why."""

    def __init__(self, error_type: int, code: int, reason: str) -> None:
        super().__init__(reason)
        self.error = error_type, code


class Session:
    """One connection to a controller. Messages are acted on strictly in order.

    A barrier waits for what this connection moved, and for what moved when it began: whoever
    connects anew may have moved it. What other controllers move meanwhile is none of its business.
    """

    def __init__(self, device: Device, clock: Clock, writer: asyncio.StreamWriter) -> None:
        self._device = device
        self._clock = clock
        self._writer = writer
        self._still_at = device.mirrors.still_at()

    async def run(self, reader: asyncio.StreamReader, idle_s: float) -> None:
        """Serve until the connection ends. An idle controller is probed, then given up."""
        self._send(of.Hello(1))
        ignore = self._device.on_light(self._light_changed)
        try:
            await self._listen(reader, idle_s)
        finally:
            ignore()

    async def _listen(self, reader: asyncio.StreamReader, idle_s: float) -> None:
        frames = of.FrameReader()
        probed = False
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    data = await reader.read(1 << 16)
            except TimeoutError:
                if probed:
                    raise ConnectionAbortedError("the controller does not answer") from None
                self._send(of.EchoRequest(0))
                probed = True
                continue
            if not data:
                return
            probed = False
            for frame in frames.feed(data):
                await self._serve(frame)
                # A small request can have a large answer: wait for a controller that does not
                # read, but not for ever.
                if self._writer.transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
                    async with asyncio.timeout(idle_s):
                        await self._writer.drain()

    async def _serve(self, frame: of.Frame) -> None:
        try:
            message = of.decode(frame)
        except MalformedMessage as error:
            log.warning("malformed message", error=str(error))
            self._refuse(frame, wire.ERROR_BAD_REQUEST, wire.BAD_REQUEST_LENGTH)
            return
        if isinstance(message, of.BarrierRequest):
            # Nothing behind a barrier is read before the mirrors stand still.
            await self._device.settle(self._still_at)
            self._send(of.BarrierReply(message.xid))
            return
        self._answer(message, frame)

    def _answer(self, message: of.Message, frame: of.Frame) -> None:
        match message:
            case of.CFlowMod():
                self._obey(message, frame)
            case of.FlowStatsRequest():
                self._read_back(message)
            case of.EchoRequest():
                self._send(of.EchoReply(message.xid, message.data))
            case of.FeaturesRequest():
                chassis = self._device.mirrors.chassis
                ports = tuple(self._circuit_port(n) for n in range(1, chassis.ports + 1))
                self._send(of.FeaturesReply(message.xid, chassis.datapath_id, ports))
            case of.OtherStatsRequest():
                self._refuse(frame, wire.ERROR_BAD_REQUEST, wire.BAD_REQUEST_STAT)
            case of.Unsupported():
                known_version = frame.version == 1
                code = wire.BAD_REQUEST_TYPE if known_version else wire.BAD_REQUEST_VERSION
                self._refuse(frame, wire.ERROR_BAD_REQUEST, code)
            case _:
                pass  # greetings and replies need no answer

    def _read_back(self, request: of.FlowStatsRequest) -> None:
        now = self._clock.monotonic()
        entries = []
        for joined in self._device.mirrors.passing():
            in_port, out_port = joined.pair
            if request.in_port in (None, in_port) and request.out_port in (None, out_port):
                age_ns = int((now - joined.settles_at) * 1e9)
                entries.append(of.FlowEntry(in_port, out_port, *divmod(age_ns, 1_000_000_000)))
        for at in range(0, max(1, len(entries)), _ENTRIES_PER_REPLY):
            part = tuple(entries[at : at + _ENTRIES_PER_REPLY])
            more = at + _ENTRIES_PER_REPLY < len(entries)
            self._send(of.FlowStatsReply(request.xid, part, more))

    def _obey(self, message: of.CFlowMod, frame: of.Frame) -> None:
        try:
            changed = self._change(message)
        except (Refusal, NotSpoken) as no:
            log.info("refused", reason=str(no), command=message.command)
            self._refuse(frame, *(_ERRORS[no.why] if isinstance(no, Refusal) else no.error))
            return
        for port in changed:
            status = of.CPortStatus(0, wire.REASON_BW_MODIFY, self._circuit_port(port))
            self._send(status)

    def _change(self, message: of.CFlowMod) -> list[int]:
        if message.actions:
            raise NotSpoken(wire.ERROR_BAD_ACTION, wire.BAD_ACTION_TYPE, "fibres take no actions")
        try:
            command = of.Command(message.command)
        except ValueError:
            raise NotSpoken(
                wire.ERROR_FLOW_MOD_FAILED, wire.FLOW_MOD_BAD_COMMAND, "unknown command"
            ) from None
        pairs = message.components.fibre_pairs
        modifies = command in (of.Command.MODIFY, of.Command.MODIFY_STRICT)
        if pairs is None or modifies or message.hard_timeout_s:
            raise NotSpoken(
                wire.ERROR_FLOW_MOD_FAILED,
                wire.FLOW_MOD_UNSUPPORTED,
                "only fibre cross-connects without a time limit, ADD and DELETE",
            )
        is_add = command is of.Command.ADD
        changed = (self._device.connect if is_add else self._device.disconnect)(pairs)
        # Also when nothing changed: what is joined already may still move.
        self._still_at = self._device.mirrors.still_at()
        return changed

    def _circuit_port(self, number: int) -> of.CircuitPort:
        free = int(self._device.mirrors.is_free(number))
        state = wire.PORT_STATE_LINK_DOWN if number in self._device.dark else 0
        return of.CircuitPort(number, f"port-{number}", state=state, bandwidth=(free,))

    def _light_changed(self, ports: frozenset[int]) -> None:
        for port in sorted(ports & set(range(1, self._device.mirrors.chassis.ports + 1))):
            self._send(of.CPortStatus(0, wire.REASON_MODIFY, self._circuit_port(port)))

    def _refuse(self, frame: of.Frame, error_type: int, code: int) -> None:
        self._send(of.ErrorMessage(frame.xid, error_type, code, frame.raw[:64]))

    def _send(self, message: of.Message) -> None:
        self._writer.write(of.encode(message))


class ControllerLink:
    """Connects to the controller, again and again; `serve` speaks with it."""

    def __init__(
        self,
        controller: tuple[str, int],
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        reconnect_s: float,
    ) -> None:
        self._controller = controller
        self._serve = serve
        self._reconnect_s = reconnect_s

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self._controller)
            except OSError as error:
                log.debug("controller not reachable", error=str(error))
                await asyncio.sleep(self._reconnect_s)
                continue
            log.info("connected to the controller", controller=self._controller)
            try:
                await self._serve(reader, writer)
            except (OSError, MalformedMessage) as error:  # TimeoutError is an OSError
                log.warning("connection to the controller ended", error=str(error))
            finally:
                writer.transport.abort()
            await asyncio.sleep(self._reconnect_s)
