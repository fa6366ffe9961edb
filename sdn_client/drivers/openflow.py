"""The embedded circuit controller: switches connect to it and speak CFLOW_MOD.md.

One asyncio loop in a thread of its own, behind the synchronous face of `CircuitDriver`. A batch is
written at once: barrier, read the table, CFLOW_MODs, barrier, read the table again. The first
reading tells what a refusal has to undo, the second whether the switch did what it was told.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field

from sdn_client import cflow_mod as of
from sdn_client.cflow_mod import messages as wire
from sdn_client.drivers.port import (
    ChassisState,
    CircuitDriver,
    ConnectivityEvent,
    DeviceEvent,
    PortsChanged,
)
from sdn_client.errors import (
    MalformedMessage,
    NotConfirmed,
    OutcomeUnknown,
    SdnError,
    SwitchRefused,
    SwitchUnreachable,
)
from sdn_client.topology import Chassis, CrossConnect, Topology

log = structlog.get_logger(__name__)

T = TypeVar("T")

_MOST_ENTRIES = 1 << 16  # a table of more entries than there are ports is no table

_REASONS = {
    (wire.ERROR_CFLOW_MOD_FAILED, wire.CFLOW_MOD_OVERLAP): "a port is in use on the switch",
    (wire.ERROR_CFLOW_MOD_FAILED, wire.CFLOW_MOD_MISMATCH): "the ports do not fit together",
    (wire.ERROR_BAD_ACTION, wire.BAD_ACTION_OUT_PORT): "the switch has no such port",
    (wire.ERROR_FLOW_MOD_FAILED, wire.FLOW_MOD_EPERM): "the ports are of two partitions",
    (wire.ERROR_FLOW_MOD_FAILED, wire.FLOW_MOD_UNSUPPORTED): "the switch cannot do that",
    (wire.ERROR_FLOW_MOD_FAILED, wire.FLOW_MOD_BAD_COMMAND): "the switch knows no such command",
    (wire.ERROR_BAD_REQUEST, wire.BAD_REQUEST_TYPE): "the switch does not speak CFLOW_MOD",
    (wire.ERROR_BAD_REQUEST, wire.BAD_REQUEST_STAT): "the switch has no read-back",
}


class OpenFlowOptions(BaseModel):
    """Options of the driver `openflow`. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen_host: str = "127.0.0.1"
    listen_port: int = Field(default=6653, ge=0, le=65535)
    confirm_timeout_s: float = Field(default=2.0, gt=0)
    handshake_timeout_s: float = Field(default=5.0, gt=0)
    idle_s: float = Field(default=2.0, gt=0)
    """Silence before a switch is probed by an echo; a second such silence ends the connection."""
    most_connections: int = Field(default=64, ge=1)


def open_driver(options: Mapping[str, Any], topology: Topology) -> CircuitDriver:
    """Entry point: listen for the switches of `topology`; `options` as `OpenFlowOptions`."""
    return OpenFlowDriver(OpenFlowOptions.model_validate(options), topology)


class _Lost(Exception):
    """The connection ended while an answer was awaited."""


class _Answers:
    """Joins answers to requests by xid."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[of.Message]] = {}
        self._parts: dict[int, list[of.FlowEntry]] = {}
        self._watched: dict[int, of.ErrorMessage | None] = {}

    def expect(self, xid: int) -> asyncio.Future[of.Message]:
        future = self._waiting[xid] = asyncio.get_running_loop().create_future()
        # A batch that failed earlier does not look at its later answers.
        future.add_done_callback(lambda f: None if f.cancelled() else f.exception())
        return future

    def watch(self, xid: int) -> None:
        """Keep an ERROR for `xid`, which has no answer when all is well."""
        self._watched[xid] = None

    def unwatch(self, xid: int) -> of.ErrorMessage | None:
        return self._watched.pop(xid, None)

    def forget(self, xids: Collection[int]) -> None:
        for xid in xids:
            self._waiting.pop(xid, None)
            self._parts.pop(xid, None)
            self._watched.pop(xid, None)

    def take(self, message: of.Message) -> None:
        """Hand `message` to who waits for it; an answer nobody asked for is dropped."""
        if isinstance(message, of.ErrorMessage) and message.xid in self._watched:
            self._watched[message.xid] = message
            return
        if message.xid not in self._waiting:
            return
        if isinstance(message, of.FlowStatsReply):
            parts = self._parts.setdefault(message.xid, [])
            parts.extend(message.entries)
            if len(parts) > _MOST_ENTRIES:
                raise MalformedMessage("The switch's table has no end.", next_step="Restart it.")
            if message.more:
                return
            message = of.FlowStatsReply(message.xid, tuple(self._parts.pop(message.xid)))
        future = self._waiting.pop(message.xid)
        if not future.done():
            future.set_result(message)

    def fail_all(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(_Lost())
        self._waiting.clear()


class _Session:
    """One connection of one switch."""

    def __init__(self, writer: asyncio.StreamWriter, options: OpenFlowOptions) -> None:
        self._writer = writer
        self._options = options
        self._answers = _Answers()
        self._xids = itertools.cycle(range(1, 1 << 31))
        self._batch = asyncio.Lock()
        self.chassis: Chassis | None = None
        self.is_dead = False
        self.ports: frozenset[int] = frozenset()
        self.ports_down: frozenset[int] = frozenset()
        self.ports_dark: frozenset[int] = frozenset()

    async def serve(
        self,
        reader: asyncio.StreamReader,
        on_features: Callable[[of.FeaturesReply], None],
        on_port: Callable[[], None],
    ) -> None:
        """Read until the connection ends; `on_features` may raise to end it, `on_port` is called
        when a port went down or dark, or came back."""
        self._send(of.Hello(0), of.FeaturesRequest(0))
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._options.handshake_timeout_s
        frames = of.FrameReader()
        probed = False
        while True:
            try:
                async with asyncio.timeout(self._options.idle_s):
                    data = await reader.read(1 << 16)
            except TimeoutError:
                if probed:
                    raise ConnectionAbortedError("the switch does not answer") from None
                self._send(of.EchoRequest(0))
                probed = True
                continue
            if not data:
                return
            probed = False
            for frame in frames.feed(data):
                self._take(of.decode(frame), on_features, on_port)
            if self.chassis is None and loop.time() > give_up_at:
                raise ConnectionAbortedError("the peer does not say which switch it is")

    def _take(
        self,
        message: of.Message,
        on_features: Callable[[of.FeaturesReply], None],
        on_port: Callable[[], None],
    ) -> None:
        match message:
            case of.EchoRequest():
                self._send(of.EchoReply(message.xid, message.data))
            case of.FeaturesReply():
                on_features(message)
            case of.CPortStatus():
                if self.note_port(message.port):
                    on_port()
            case _:
                self._answers.take(message)

    def note_port(self, port: of.CircuitPort) -> bool:
        """Take over what the switch says of a port; whether it went down or dark, or came back."""
        before = self.ports_down, self.ports_dark
        # Replaced, never changed in place: other threads look at them.
        self.ports |= {port.port_no}
        this = {port.port_no}
        is_down = port.config & wire.PORT_CONFIG_DOWN
        self.ports_down = self.ports_down | this if is_down else self.ports_down - this
        is_dark = port.state & wire.PORT_STATE_LINK_DOWN
        self.ports_dark = self.ports_dark | this if is_dark else self.ports_dark - this
        return before != (self.ports_down, self.ports_dark)

    async def read_table(self) -> frozenset[CrossConnect]:
        barrier_xid, table_xid = asked = (next(self._xids), next(self._xids))
        barrier, table = (self._answers.expect(xid) for xid in asked)
        try:
            # Behind a barrier: a pair whose mirrors still move is not in the table yet.
            self._send(of.BarrierRequest(barrier_xid), of.FlowStatsRequest(table_xid))
            async with asyncio.timeout(self._options.confirm_timeout_s):
                self._barrier_passed(await barrier)
                return self._table(await table)
        except (TimeoutError, _Lost) as error:
            self.abort()
            raise SwitchUnreachable(
                f"{self._name} did not answer when its table was read.",
                next_step="See whether the switch runs; it is asked again when it reconnects.",
            ) from error
        finally:
            self._answers.forget(asked)

    async def apply(
        self, connect: Collection[CrossConnect], disconnect: Collection[CrossConnect]
    ) -> frozenset[CrossConnect]:
        """As `CircuitDriver.apply` for this chassis; what became joined."""
        async with self._batch:
            before, after, refusals = await self._exchange(connect, disconnect)
            made = (after - before) & frozenset(connect)
            missing = frozenset(connect) - after
            lingering = frozenset(disconnect) & after
            if not (refusals or missing or lingering):
                return made
            if made:
                _, left, _ = await self._exchange((), made)
                if left & made:
                    raise OutcomeUnknown(
                        f"{self._name} refused a batch and keeps a part of it:"
                        f" {_listed(left & made)}.",
                        next_step="The table is reconciled when the switch reconnects.",
                    )
            if refusals:
                raise SwitchRefused(
                    f"{self._name} refused {'; '.join(refusals)}.",
                    next_step="Compare the switch's table with the circuits, then ask again.",
                )
            raise NotConfirmed(
                f"{self._name} does not show what was asked: missing {_listed(missing)},"
                f" still joined {_listed(lingering)}.",
                next_step="This switch cannot be trusted with circuits; see its log.",
            )

    async def _exchange(
        self, connect: Collection[CrossConnect], disconnect: Collection[CrossConnect]
    ) -> tuple[frozenset[CrossConnect], frozenset[CrossConnect], list[str]]:
        """One batch: the table before, the table after, the refusals of `connect`."""
        mods: dict[int, CrossConnect] = {}
        messages: list[of.Message] = []

        def add(command: of.Command, cross_connect: CrossConnect) -> None:
            xid = next(self._xids)
            pair = of.Components.fibre((cross_connect.in_port, cross_connect.out_port))
            messages.append(of.CFlowMod(xid, command, pair))
            mods[xid] = cross_connect
            self._answers.watch(xid)

        for cross_connect in sorted(disconnect):
            add(of.Command.DELETE, cross_connect)
        for cross_connect in sorted(connect):
            add(of.Command.ADD, cross_connect)
        still_xid, before_xid, barrier_xid, after_xid = (next(self._xids) for _ in range(4))
        asked = [still_xid, before_xid, barrier_xid, after_xid]
        still, before, barrier, after = (self._answers.expect(xid) for xid in asked)
        try:
            self._send(
                of.BarrierRequest(still_xid),
                of.FlowStatsRequest(before_xid),
                *messages,
                of.BarrierRequest(barrier_xid),
                of.FlowStatsRequest(after_xid),
            )
            async with asyncio.timeout(self._options.confirm_timeout_s):
                self._barrier_passed(await still)
                table_before = self._table(await before)
                self._barrier_passed(await barrier)
                table_after = self._table(await after)
        except (TimeoutError, _Lost) as error:
            # What a late answer would say is not known; a new connection starts clean.
            self.abort()
            raise OutcomeUnknown(
                f"{self._name} did not confirm"
                f" {_listed([*connect, *disconnect])}: the connection broke or was silent.",
                next_step="The switch's table is read again when it reconnects.",
            ) from error
        finally:
            errors = {xid: self._answers.unwatch(xid) for xid in mods}
            self._answers.forget(asked)
        # A refused DELETE is settled by the table: it shows the pair, or it does not.
        wanted = set(connect)
        refusals = [
            f"{mods[xid]}: {_reason(error)}"
            for xid, error in errors.items()
            if error is not None and mods[xid] in wanted
        ]
        return table_before, table_after, refusals

    def _table(self, message: of.Message) -> frozenset[CrossConnect]:
        assert self.chassis is not None
        if not isinstance(message, of.FlowStatsReply):
            why = _reason(message) if isinstance(message, of.ErrorMessage) else "no table came"
            raise NotConfirmed(
                f"The table of {self._name} cannot be read: {why}.",
                next_step="Circuits need a switch that can be read back.",
            )
        return frozenset(
            CrossConnect(self.chassis.name, e.in_port, e.out_port) for e in message.entries
        )

    def _barrier_passed(self, message: of.Message) -> None:
        if not isinstance(message, of.BarrierReply):
            raise NotConfirmed(
                f"{self._name} does not answer barriers.",
                next_step="Circuits need a switch that says when its mirrors settled.",
            )

    @property
    def _name(self) -> str:
        return f"The switch {self.chassis.name if self.chassis else '?'}"

    def _send(self, *messages: of.Message) -> None:
        self._writer.write(b"".join(of.encode(m) for m in messages))

    def abort(self) -> None:
        """End the connection; every awaited answer fails."""
        self.is_dead = True
        self._writer.transport.abort()
        self._answers.fail_all()


class OpenFlowDriver:
    """See the module; `address` is where it listens (useful with port 0)."""

    def __init__(self, options: OpenFlowOptions, topology: Topology) -> None:
        self._options = options
        self._topology = topology
        self._sessions: dict[str, _Session] = {}
        self._faults: dict[str, str] = {}
        self._open: set[_Session] = set()
        self._admissions: set[asyncio.Task[None]] = set()
        self._listeners: list[Callable[[DeviceEvent], None]] = []
        self._listeners_lock = threading.Lock()
        self._teller = ThreadPoolExecutor(1, "circuit-events")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="circuit-controller", daemon=True
        )
        self._thread.start()
        try:
            self._server = self._call(self._listen())
        except OSError as error:
            self._stop_loop()
            raise SwitchUnreachable(
                f"The circuit controller cannot listen on {options.listen_host}:"
                f"{options.listen_port}: {error.strerror or error}.",
                next_step="Choose a free address in the settings.",
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address: tuple[str, int] = (host, port)

    # --- CircuitDriver

    def chassis_states(self) -> Mapping[str, ChassisState]:
        states: dict[str, ChassisState] = {}
        for chassis in self._topology.chassis:
            session = self._sessions.get(chassis.name)
            states[chassis.name] = ChassisState(
                session is not None and not session.is_dead,
                self._faults.get(chassis.name, ""),
                session.ports if session else frozenset(),
                session.ports_down if session else frozenset(),
                session.ports_dark if session else frozenset(),
            )
        return states

    def apply(
        self,
        *,
        connect: Collection[CrossConnect] = (),
        disconnect: Collection[CrossConnect] = (),
    ) -> None:
        self._call(self._apply(frozenset(connect), frozenset(disconnect)))

    def read_cross_connects(self, chassis: str) -> frozenset[CrossConnect]:
        async def read() -> frozenset[CrossConnect]:
            return await self._session(chassis).read_table()

        return self._call(read())

    def subscribe(self, listener: Callable[[DeviceEvent], None]) -> Callable[[], None]:
        with self._listeners_lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._listeners_lock:
                self._listeners.remove(listener)

        return unsubscribe

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        self._call(self._shut())
        self._stop_loop()

    # --- in the loop's thread

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            work.close()
            raise SwitchUnreachable(
                "The circuit controller is closed.", next_step="Start the service again."
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(
            self._accept, self._options.listen_host, self._options.listen_port
        )

    async def _shut(self) -> None:
        self._server.close()
        for session in list(self._open):
            session.abort()
        await self._server.wait_closed()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._teller.shutdown()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if len(self._open) >= self._options.most_connections:
            log.warning("too many connections to the circuit controller", peer=peer)
            writer.transport.abort()
            return
        session = _Session(writer, self._options)
        self._open.add(session)
        try:
            await session.serve(
                reader,
                lambda reply: self._welcome(session, reply),
                lambda: self._ports_changed(session),
            )
        except (OSError, SdnError) as error:
            log.warning("connection of a switch ended", peer=peer, error=str(error))
        finally:
            self._open.discard(session)
            session.abort()
            self._leave(session)

    def _welcome(self, session: _Session, reply: of.FeaturesReply) -> None:
        chassis = self._topology.chassis_of_datapath(reply.datapath_id)
        if chassis is None:
            raise MalformedMessage(
                f"A switch with the unknown datapath id {reply.datapath_id:#018x} connected.",
                next_step="Correct datapath_id in the topology file.",
            )
        if session.chassis is not None:
            return
        missing = set(range(1, chassis.ports + 1)) - {p.port_no for p in reply.cports}
        if missing:
            self._faults[chassis.name] = (
                f"the topology file gives {chassis.name} ports 1 to {chassis.ports},"
                f" the switch has {len(reply.cports)} and lacks {sorted(missing)[:8]}"
            )
            raise MalformedMessage(
                self._faults[chassis.name] + ".", next_step="Correct the topology file."
            )
        session.chassis = chassis
        for port in reply.cports:
            session.note_port(port)
        task = asyncio.get_running_loop().create_task(self._admit(session, chassis))
        self._admissions.add(task)
        task.add_done_callback(self._admissions.discard)

    async def _admit(self, session: _Session, chassis: Chassis) -> None:
        """Use the switch from now on, if it can be read back: nothing is believed unread."""
        try:
            table = await session.read_table()
        except SdnError as error:
            if isinstance(error, NotConfirmed):
                self._faults[chassis.name] = error.detail
            log.warning("the switch is not used", chassis=chassis.name, error=str(error))
            session.abort()
            return
        self._faults.pop(chassis.name, None)
        older = self._sessions.get(chassis.name)
        self._sessions[chassis.name] = session
        if older is not None:
            log.warning("a newer connection replaces the switch's older one", chassis=chassis.name)
            older.abort()
        log.info("switch connected", chassis=chassis.name, cross_connects=len(table))
        self._tell(ConnectivityEvent(chassis.name, connected=True))

    def _leave(self, session: _Session) -> None:
        if session.chassis is None or self._sessions.get(session.chassis.name) is not session:
            return
        del self._sessions[session.chassis.name]
        log.warning("switch disconnected", chassis=session.chassis.name)
        self._tell(ConnectivityEvent(session.chassis.name, connected=False))

    def _ports_changed(self, session: _Session) -> None:
        if session.chassis and self._sessions.get(session.chassis.name) is session:
            self._tell(PortsChanged(session.chassis.name))

    def _session(self, chassis: str) -> _Session:
        session = self._sessions.get(chassis)
        if session is None or session.is_dead:
            fault = self._faults.get(chassis)
            raise SwitchUnreachable(
                f"The switch {chassis} is not connected{': ' + fault if fault else ''}.",
                next_step=f"Let it connect to {self.address[0]}:{self.address[1]}.",
            )
        return session

    async def _apply(
        self, connect: frozenset[CrossConnect], disconnect: frozenset[CrossConnect]
    ) -> None:
        names = sorted({x.chassis for x in connect | disconnect})
        sessions = {name: self._session(name) for name in names}
        results = await asyncio.gather(
            *(
                session.apply(
                    [x for x in connect if x.chassis == name],
                    [x for x in disconnect if x.chassis == name],
                )
                for name, session in sessions.items()
            ),
            return_exceptions=True,
        )
        errors = [r for r in results if isinstance(r, BaseException)]
        if not errors:
            return
        # One chassis failed: what the others made goes again, so that nothing stays half made.
        await asyncio.gather(
            *(
                session.apply((), made)
                for session, made in zip(sessions.values(), results, strict=True)
                if not isinstance(made, BaseException) and made
            )
        )
        raise errors[0]

    def _tell(self, event: DeviceEvent) -> None:
        with self._listeners_lock:
            listeners = list(self._listeners)
        for listener in listeners:
            self._teller.submit(listener, event).add_done_callback(_log_failure)


def _log_failure(told: Future[None]) -> None:
    error = told.exception()
    if error is not None:
        log.error("a listener to switch connectivity failed", error=str(error), exc_info=error)


def _listed(cross_connects: Collection[CrossConnect]) -> str:
    return ", ".join(str(x) for x in sorted(cross_connects)) or "none"


def _reason(error: of.ErrorMessage) -> str:
    known = _REASONS.get((error.type, error.code))
    return f"{known or 'no reason known'} (OpenFlow error {error.type}/{error.code})"
