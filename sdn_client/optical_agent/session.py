"""One OpenFlow 1.3 connection to the controller (OPENFLOW13.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from sdn_client.errors import MalformedMessage
from sdn_client.openflow13 import constants as c
from sdn_client.openflow13 import messages as of
from sdn_client.openflow13 import multipart as mp
from sdn_client.openflow13.constants import (
    BadRequest,
    ControllerRole,
    ErrorType,
    HelloFailed,
    MultipartType,
    RoleRequestFailed,
)
from sdn_client.openflow13.reading import decode
from sdn_client.openflow13.structures import Port
from sdn_client.openflow_framing import Frame, FrameReader
from sdn_client.optical_agent import answers
from sdn_client.optical_agent.batches import Batches
from sdn_client.optical_agent.flows import Join, Part, read_flow_mod, select
from sdn_client.optical_agent.ordering import Item, Kind, Ordering
from sdn_client.optical_agent.refusal import Refusal
from sdn_client.optical_agent.surroundings import Surroundings
from sdn_client.optical_agent.table import Outcome

log = structlog.get_logger(__name__)

_MOST_PENDING = 1024  # unfinished requests; then nothing further is read
_MOST_UNSENT_BYTES = 1 << 18  # then it is waited for the controller to read
_FAR_TOO_MUCH_UNSENT_BYTES = 1 << 24

# Types of OpenFlow 1.3 that have an error of their own; any other is refused as BAD_TYPE.
_REFUSED_TYPES: dict[int, tuple[int, int]] = {
    4: (ErrorType.BAD_REQUEST, BadRequest.BAD_EXPERIMENTER),
    15: (ErrorType.GROUP_MOD_FAILED, 3),  # GROUP_MOD: out of groups
    16: (ErrorType.PORT_MOD_FAILED, 4),  # PORT_MOD: not permitted
    17: (ErrorType.TABLE_MOD_FAILED, 2),  # TABLE_MOD: not permitted
    22: (ErrorType.QUEUE_OP_FAILED, 2),  # QUEUE_GET_CONFIG_REQUEST: not permitted
    29: (ErrorType.METER_MOD_FAILED, 10),  # METER_MOD: out of meters
}


@dataclass(frozen=True)
class _Change:
    frame: Frame
    request: Join | Part
    item: Item[Callable[[], None]]

    @property
    def xid(self) -> int:
        return self.frame.xid


class Session:
    """Serves one controller until the connection ends."""

    def __init__(self, writer: asyncio.StreamWriter, around: Surroundings) -> None:
        self._writer = writer
        self._around = around
        self._ordering: Ordering[Callable[[], None]] = Ordering()
        self._room = asyncio.Event()
        self._batches: Batches[_Change] = Batches(
            around.table, around.device_thread, around.quiet_s, self._begun, self._changed
        )
        self._tasks = asyncio.TaskGroup()
        self._role = ControllerRole.EQUAL
        self._greeted = False
        self._told_ports: dict[int, Port] = {}
        self._config = (0, 0)
        self._wanted = of.SetAsync(0)  # asynchronous messages, until the controller says otherwise

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Serve; ends by an exception group of OSError, MalformedMessage or what the device raised
        when nothing is known any more."""
        self._send(of.Hello(1))
        async with self._tasks as tasks:
            tasks.create_task(self._batches.run())
            tasks.create_task(self._listen(reader))

    def ports_changed(self) -> None:
        """Tell the controller of ports that went down or dark, or came back."""
        now = {p.port_no: p for p in self._around.ports()}
        before, self._told_ports = self._told_ports, now
        if not self._greeted:
            return
        for number in sorted(before.keys() | now.keys()):
            if before.get(number) == now.get(number):
                continue
            reason = c.REASON_PORT_MODIFY
            if number not in before:
                reason = c.REASON_PORT_ADD
            elif number not in now:
                reason = c.REASON_PORT_DELETE
            if self._wants(self._wanted.port_status, reason):
                self._send(of.PortStatus(0, reason, now.get(number) or before[number]))

    def _wants(self, masks: tuple[int, int], reason: int) -> bool:
        """Whether the controller in its role wants asynchronous messages of that reason."""
        return bool(masks[self._role is ControllerRole.SLAVE] >> reason & 1)

    # --- reading

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        frames = FrameReader()
        probed = False
        while True:
            patience_s = self._around.idle_s if self._greeted else self._around.handshake_timeout_s
            try:
                async with asyncio.timeout(patience_s):
                    data = await reader.read(1 << 16)
            except TimeoutError:
                if probed or not self._greeted:
                    raise ConnectionAbortedError("the controller does not answer") from None
                self._send(of.EchoRequest(0))
                probed = True
                continue
            if not data:
                raise ConnectionAbortedError("the controller closed the connection")
            probed = False
            for frame in frames.feed(data):
                self._take(frame)
                await self._until_room()

    async def _until_room(self) -> None:
        """Read no faster than requests are finished and answers are taken."""
        while len(self._ordering) > _MOST_PENDING:
            self._room.clear()
            await self._room.wait()
        if self._writer.transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            async with asyncio.timeout(self._around.idle_s):
                await self._writer.drain()

    def _take(self, frame: Frame) -> None:
        try:
            message = decode(frame)
        except MalformedMessage as error:
            if not self._greeted:
                raise
            log.warning("malformed message", xid=frame.xid, error=str(error))
            self._refuse(frame, ErrorType.BAD_REQUEST, BadRequest.BAD_LENGTH)
            return
        if isinstance(message, of.Hello):
            self._greet(message, frame)
        elif not self._greeted:
            raise MalformedMessage(
                f"The controller begins with a message of type {frame.type} instead of HELLO.",
                next_step="Check the controller's address and port.",
            )
        elif isinstance(message, of.EchoRequest):
            # Not behind barriers: it asks whether we are alive, and mirrors take time.
            self._send(of.EchoReply(message.xid, message.data))
        else:
            self._queue(message, frame)

    def _greet(self, hello: of.Hello, frame: Frame) -> None:
        if not hello.speaks_1_3:
            text = b"this switch speaks OpenFlow 1.3 (wire version 4)"
            error = of.ErrorMessage(
                frame.xid, ErrorType.HELLO_FAILED, HelloFailed.INCOMPATIBLE, text
            )
            self._send(error)
            raise ConnectionAbortedError("the controller does not speak OpenFlow 1.3")
        self._greeted = True
        self._told_ports = {p.port_no: p for p in self._around.ports()}

    def _queue(self, message: of.Message, frame: Frame) -> None:
        match message:
            case of.BarrierRequest():
                self._later(Kind.BARRIER, lambda: self._send(of.BarrierReply(message.xid)))
            case of.FlowMod():
                self._queue_change(message, frame)
            case of.MultipartRequest(content=mp.FlowRequest() as request):
                self._queue_look(message.xid, request)
            case of.MultipartRequest(content=mp.RawBody(KIND=MultipartType.TABLE)):
                self._queue_look(message.xid, None)
            case of.MultipartRequest():
                self._later(Kind.ANSWER, lambda: self._describe(message, frame))
            case _:
                self._later(Kind.ANSWER, lambda: self._answer(message, frame))

    def _queue_change(self, mod: of.FlowMod, frame: Frame) -> None:
        try:
            if self._role is ControllerRole.SLAVE:
                raise Refusal(ErrorType.BAD_REQUEST, BadRequest.IS_SLAVE, "the controller is slave")
            request = read_flow_mod(mod)
        except Refusal as refusal:
            reason = refusal  # the name `refusal` ends with the block
            self._later(Kind.ANSWER, lambda: self._refuse_change(frame, reason))
            return
        item: Item[Callable[[], None]] = Item(
            Kind.JOIN if isinstance(request, Join) else Kind.PART,
            lambda: self._batches.add(_Change(frame, request, item)),
            lambda: self._ports_of(request),
        )
        self._add(item)

    def _queue_look(self, xid: int, request: mp.FlowRequest | None) -> None:
        item: Item[Callable[[], None]] = Item(
            Kind.LOOK, lambda: self._begin(self._look(xid, request, item))
        )
        self._add(item)

    def _ports_of(self, request: Join | Part) -> frozenset[int] | None:
        """The ports on which `request` depends; None: any."""
        if isinstance(request, Join):
            return frozenset({request.in_port, request.out_port})
        port = request.selection.in_port
        if port is None:
            return frozenset() if request.selection.nothing else None
        return frozenset({port}) | self._around.table.partners(port)

    # --- queueing

    def _later(self, kind: Kind, work: Callable[[], None]) -> None:
        self._add(Item(kind, work))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.create_task(work)

    def _add(self, item: Item[Callable[[], None]]) -> None:
        self._ordering.add(item)
        self._advance()

    def _advance(self) -> None:
        self._ordering.advance(self._start)
        self._room.set()

    def _start(self, item: Item[Callable[[], None]]) -> bool:
        item.work()
        return item.kind in (Kind.ANSWER, Kind.BARRIER)

    def _begun(self, changes: Sequence[_Change]) -> None:
        self._ordering.begin(*(change.item for change in changes))

    def _changed(self, changes: Sequence[_Change], outcomes: Sequence[Outcome]) -> None:
        for change, outcome in zip(changes, outcomes, strict=True):
            # Told behind the barriers that came before it, however early it was done.
            tell = partial(self._tell_outcome, change.frame, outcome)
            self._ordering.answer(change.item, tell)
        self._advance()

    def _tell_outcome(self, frame: Frame, outcome: Outcome) -> None:
        if outcome.refusal is not None:
            self._refuse_change(frame, outcome.refusal)
        for flow in outcome.ended:
            asked = flow.flags & c.FLAG_SEND_FLOW_REMOVED
            if asked and self._wants(self._wanted.flow_removed, c.REASON_FLOW_DELETE):
                self._send(answers.flow_removed(flow, self._around.table.age_s(flow)))

    async def _look(
        self, xid: int, request: mp.FlowRequest | None, item: Item[Callable[[], None]]
    ) -> None:
        """Read the device's table now and answer from it; `request` None: count all flows."""
        loop = asyncio.get_running_loop()
        table = self._around.table
        flows = await loop.run_in_executor(self._around.device_thread, table.read)
        if request is None:
            self._send(answers.table_statistics(xid, len(flows)))
        else:
            which = select(request)
            fit = [f for f in flows if which.fits(f.in_port, f.out_port, f.cookie)]
            if isinstance(request, mp.AggregateRequest):
                self._send(answers.aggregate(xid, len(fit)))
            else:
                self._send(*answers.flow_statistics(xid, [(f, table.age_s(f)) for f in fit]))
        self._ordering.finish(item)
        self._advance()

    # --- answering

    def _answer(self, message: of.Message, frame: Frame) -> None:
        around = self._around
        match message:
            case of.FeaturesRequest():
                able = c.CAPABILITY_FLOW_STATS | c.CAPABILITY_TABLE_STATS | c.CAPABILITY_PORT_STATS
                self._send(of.FeaturesReply(message.xid, around.datapath_id, capabilities=able))
            case of.GetConfigRequest():
                self._send(of.GetConfigReply(message.xid, *self._config))
            case of.SetAsync():
                self._wanted = message
            case of.GetAsyncRequest():
                told = self._wanted
                self._send(
                    of.GetAsyncReply(
                        message.xid, told.packet_in, told.port_status, told.flow_removed
                    )
                )
            case of.SetConfig():
                self._config = (message.flags, message.miss_send_len)
            case of.RoleRequest():
                self._elect(message, frame)
            case of.ErrorMessage():
                log.warning("the controller reports", type=message.type, code=message.code)
            case of.Unsupported():
                self._refuse_unsupported(frame)
            case of.EchoReply():
                pass
            case _:  # what a switch says, said to a switch
                self._refuse(frame, ErrorType.BAD_REQUEST, BadRequest.BAD_TYPE)

    def _describe(self, message: of.MultipartRequest, frame: Frame) -> None:
        around, xid = self._around, message.xid
        match message.content:
            case mp.RawBody(KIND=MultipartType.DESC):
                self._send(of.MultipartReply(xid, around.description))
            case mp.RawBody(KIND=MultipartType.PORT_DESC):
                ports = around.ports()
                self._told_ports = {p.port_no: p for p in ports}
                self._send(*answers.port_descriptions(xid, ports))
            case mp.RawBody(KIND=MultipartType.GROUP_FEATURES):
                self._send(of.MultipartReply(xid, mp.no_groups()))
            case mp.RawBody(KIND=MultipartType.METER_FEATURES):
                self._send(of.MultipartReply(xid, mp.no_meters()))
            case mp.PortStatsRequest(port_no=number):
                ports = tuple(p for p in around.ports() if number in (p.port_no, c.PORT_ANY))
                if not ports and number != c.PORT_ANY:
                    self._refuse(frame, ErrorType.BAD_REQUEST, BadRequest.BAD_PORT)
                    return
                self._send(*answers.port_statistics(xid, ports, around.uptime_s()))
            case _:
                self._refuse(frame, ErrorType.BAD_REQUEST, BadRequest.BAD_MULTIPART)

    def _elect(self, request: of.RoleRequest, frame: Frame) -> None:
        try:
            role = ControllerRole(request.role)
        except ValueError:
            self._refuse(frame, ErrorType.ROLE_REQUEST_FAILED, RoleRequestFailed.BAD_ROLE)
            return
        election = self._around.election
        if role in (ControllerRole.MASTER, ControllerRole.SLAVE) and not election.accepts(
            request.generation_id
        ):
            self._refuse(frame, ErrorType.ROLE_REQUEST_FAILED, RoleRequestFailed.STALE)
            return
        if role is not ControllerRole.NO_CHANGE:
            self._role = role
        # Without an election so far, the largest number says "none", as other switches do.
        known = election.generation_id
        self._send(of.RoleReply(request.xid, self._role, 2**64 - 1 if known is None else known))

    def _refuse_unsupported(self, frame: Frame) -> None:
        if frame.version != c.VERSION:
            self._refuse(frame, ErrorType.BAD_REQUEST, BadRequest.BAD_VERSION)
            return
        unknown = (ErrorType.BAD_REQUEST, BadRequest.BAD_TYPE)
        self._refuse(frame, *_REFUSED_TYPES.get(frame.type, unknown))

    def _refuse_change(self, frame: Frame, refusal: Refusal) -> None:
        log.warning(
            "refused",
            xid=frame.xid,
            reason=str(refusal),
            error=f"{refusal.error_type.name}/{refusal.code.name}",
        )
        self._refuse(frame, refusal.error_type, refusal.code)

    def _refuse(self, frame: Frame, error_type: int, code: int) -> None:
        # The whole request if it is short, and never less than its first 64 bytes.
        self._send(of.ErrorMessage(frame.xid, error_type, code, frame.raw[:1024]))

    def _send(self, *messages: of.Message) -> None:
        for message in messages:
            self._writer.write(of.encode(message))
        if self._writer.transport.get_write_buffer_size() > _FAR_TOO_MUCH_UNSENT_BYTES:
            self._writer.transport.abort()  # a controller that does not read
