"""The switch as a peer of the controller: requests in, answers out (CFLOW_MOD.md)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import structlog

from emulators.polatis.mirrors import Mirrors, Pair, Refusal
from emulators.polatis.plant_link import PlantLink
from sdn_client import cflow_mod as of
from sdn_client.cflow_mod import messages as wire
from sdn_client.errors import MalformedMessage
from timekeeping import Clock

log = structlog.get_logger(__name__)

_ENTRIES_PER_REPLY = 600  # 96 bytes each; a message holds 65535
_MOST_UNSENT_BYTES = 1 << 18
MOST_PORTS = 818  # what one FEATURES_REPLY holds


class Session:
    """One connection to a controller. Messages are acted on strictly in order."""

    def __init__(
        self,
        mirrors: Mirrors,
        clock: Clock,
        writer: asyncio.StreamWriter,
        on_change: Callable[[], None],
        on_settled: Callable[[], None],
    ) -> None:
        self._mirrors = mirrors
        self._clock = clock
        self._writer = writer
        self._on_change = on_change
        self._on_settled = on_settled

    async def run(self, reader: asyncio.StreamReader, idle_s: float) -> None:
        """Serve until the connection ends. An idle controller is probed, then given up."""
        self._send(of.Hello(1))
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
            while (left_s := self._mirrors.motion_left_s()) > 0:
                await asyncio.sleep(left_s)
            self._on_settled()
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
                chassis = self._mirrors.chassis
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
        for joined in self._mirrors.passing():
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
        except Refusal as refusal:
            log.info("refused", reason=str(refusal), command=message.command)
            self._refuse(frame, refusal.error_type, refusal.code)
            return
        if changed:
            self._on_change()
        for port in changed:
            status = of.CPortStatus(0, wire.REASON_BW_MODIFY, self._circuit_port(port))
            self._send(status)

    def _change(self, message: of.CFlowMod) -> list[int]:
        if message.actions:
            raise Refusal(wire.ERROR_BAD_ACTION, wire.BAD_ACTION_TYPE, "fibres take no actions")
        try:
            command = of.Command(message.command)
        except ValueError:
            raise Refusal(
                wire.ERROR_FLOW_MOD_FAILED, wire.FLOW_MOD_BAD_COMMAND, "unknown command"
            ) from None
        pairs = message.components.fibre_pairs
        modifies = command in (of.Command.MODIFY, of.Command.MODIFY_STRICT)
        if pairs is None or modifies or message.hard_timeout_s:
            raise Refusal(
                wire.ERROR_FLOW_MOD_FAILED,
                wire.FLOW_MOD_UNSUPPORTED,
                "only fibre cross-connects without a time limit, ADD and DELETE",
            )
        if command is of.Command.ADD:
            return self._mirrors.connect(pairs)
        return self._mirrors.disconnect(pairs)

    def _circuit_port(self, number: int) -> of.CircuitPort:
        free = int(self._mirrors.is_free(number))
        return of.CircuitPort(number, f"port-{number}", bandwidth=(free,))

    def _refuse(self, frame: of.Frame, error_type: int, code: int) -> None:
        self._send(of.ErrorMessage(frame.xid, error_type, code, frame.raw[:64]))

    def _send(self, message: of.Message) -> None:
        self._writer.write(of.encode(message))


class Switch:
    """The whole device: mirrors, the session with the controller, the word to the plant."""

    def __init__(
        self,
        mirrors: Mirrors,
        clock: Clock,
        controller: tuple[str, int],
        *,
        plant: tuple[str, int] | None = None,
        reconnect_s: float = 0.3,
        idle_s: float = 5.0,
        state_file: Path | None = None,
    ) -> None:
        """With `state_file`, cross-connects outlive a restart; without, it starts dark."""
        self._mirrors = mirrors
        self._clock = clock
        self._controller = controller
        self._reconnect_s = reconnect_s
        self._idle_s = idle_s
        self._state_file = state_file
        self._plant: PlantLink | None = None
        if plant is not None:
            name = mirrors.chassis.name
            self._plant = PlantLink(*plant, name, self._passing, reconnect_s)

    async def run(self) -> None:
        """Work until cancelled."""
        self._restore()
        async with asyncio.TaskGroup() as tasks:
            if self._plant is not None:
                tasks.create_task(self._plant.run())
            tasks.create_task(self._talk_to_controller())

    async def _talk_to_controller(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self._controller)
            except OSError as error:
                log.debug("controller not reachable", error=str(error))
                await asyncio.sleep(self._reconnect_s)
                continue
            log.info("connected to the controller", controller=self._controller)
            try:
                session = Session(self._mirrors, self._clock, writer, self._changed, self._publish)
                await session.run(reader, self._idle_s)
            except (OSError, MalformedMessage) as error:  # TimeoutError is an OSError
                log.warning("connection to the controller ended", error=str(error))
            finally:
                writer.transport.abort()
            await asyncio.sleep(self._reconnect_s)

    def _passing(self) -> list[Pair]:
        return [joined.pair for joined in self._mirrors.passing()]

    def _changed(self) -> None:
        """Something moves: what went dark is dark now, what settles is told when it settled."""
        self._publish()
        self._save()
        left_s = self._mirrors.motion_left_s()
        asyncio.get_running_loop().call_later(left_s, self._publish)

    def _publish(self) -> None:
        if self._plant is not None:
            self._plant.publish()

    def _save(self) -> None:
        if self._state_file is not None:
            spare = self._state_file.with_suffix(".new")
            spare.write_text(json.dumps({"cross_connects": self._mirrors.joined()}), "utf-8")
            spare.replace(self._state_file)

    def _restore(self) -> None:
        if self._state_file is None or not self._state_file.exists():
            return
        try:
            document = json.loads(self._state_file.read_text("utf-8"))
            self._mirrors.connect([(int(a), int(b)) for a, b in document["cross_connects"]])
        except (OSError, ValueError, KeyError, TypeError, Refusal) as error:
            log.warning("the kept cross-connects cannot be used; starting dark", error=str(error))
            return
        self._changed()
