"""All switches that connect, behind the synchronous face of `CircuitDriver`.

One asyncio loop in a thread of its own. A switch is used when its datapath id is known, it has the
ports of the topology file and its table was read: nothing is believed unread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from sdn_client import cflow_mod as of
from sdn_client.drivers.openflow.agents import AGENTS
from sdn_client.drivers.openflow.options import OpenFlowOptions
from sdn_client.drivers.openflow.session import Session
from sdn_client.drivers.port import (
    ChassisState,
    CircuitDriver,
    ConnectivityEvent,
    DeviceEvent,
    PortsChanged,
)
from sdn_client.errors import (
    MalformedMessage,
    SdnError,
    SwitchUnreachable,
    Unverified,
)
from sdn_client.topology import Chassis, CrossConnect, Topology

log = structlog.get_logger(__name__)

T = TypeVar("T")


def open_driver(options: Mapping[str, Any], topology: Topology) -> CircuitDriver:
    """Entry point: listen for the switches of `topology`; `options` as `OpenFlowOptions`."""
    return OpenFlowDriver(OpenFlowOptions.model_validate(options), topology)


class OpenFlowDriver:
    """See the module; `address` is where it listens (useful with port 0)."""

    def __init__(self, options: OpenFlowOptions, topology: Topology) -> None:
        self._options = options
        self._agent = AGENTS[options.agent]
        self._topology = topology
        self._sessions: dict[str, Session] = {}
        self._faults: dict[str, SdnError] = {}
        self._open: set[Session] = set()
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
                self._fault(chassis.name),
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
        session = Session(writer, self._options, self._agent, self._topology)
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

    def _welcome(self, session: Session, reply: of.FeaturesReply) -> None:
        chassis = self._topology.chassis_of_datapath(reply.datapath_id)
        if chassis is None:
            raise MalformedMessage(
                f"A switch with the unknown datapath id {reply.datapath_id:#018x} connected.",
                next_step="Correct datapath_id in the topology file.",
            )
        if session.chassis is not None:
            return
        ports = {self._agent.chassis_port(p.port_no) for p in reply.cports}
        missing = set(range(1, chassis.ports + 1)) - ports
        if missing:
            self._faults[chassis.name] = MalformedMessage(
                f"the topology file gives {chassis.name} ports 1 to {chassis.ports},"
                f" the switch has {len(reply.cports)} and lacks {sorted(missing)[:8]}.",
                next_step="Correct the topology file.",
            )
            raise self._faults[chassis.name]
        try:
            session.identify(chassis, reply.cports)
        except SdnError as error:
            self._faults[chassis.name] = error
            raise
        task = asyncio.get_running_loop().create_task(self._admit(session, chassis))
        self._admissions.add(task)
        task.add_done_callback(self._admissions.discard)

    async def _admit(self, session: Session, chassis: Chassis) -> None:
        """Use the switch from now on, if it can be read back: nothing is believed unread."""
        try:
            table = await session.read_table()
        except SdnError as error:
            self._faults[chassis.name] = error
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

    def _leave(self, session: Session) -> None:
        if session.chassis is None or self._sessions.get(session.chassis.name) is not session:
            return
        del self._sessions[session.chassis.name]
        log.warning("switch disconnected", chassis=session.chassis.name)
        self._tell(ConnectivityEvent(session.chassis.name, connected=False))

    def _ports_changed(self, session: Session) -> None:
        if session.chassis and self._sessions.get(session.chassis.name) is session:
            self._tell(PortsChanged(session.chassis.name))

    def _session(self, chassis: str) -> Session:
        session = self._sessions.get(chassis)
        if session is None or session.is_dead:
            fault = self._fault(chassis)
            if isinstance(error := self._faults.get(chassis), Unverified):
                raise Unverified(
                    f"The switch {chassis} is not used: {fault}.", next_step=error.next_step
                )
            raise SwitchUnreachable(
                f"The switch {chassis} is not connected{': ' + fault if fault else ''}.",
                next_step=f"Let it connect to {self.address[0]}:{self.address[1]}.",
            )
        return session

    def _fault(self, chassis: str) -> str:
        error = self._faults.get(chassis)
        return error.detail.rstrip(".") if error else ""

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
