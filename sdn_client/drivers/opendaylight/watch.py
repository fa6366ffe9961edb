"""Keeps what OpenDaylight reports of the switches, by looking again and again.

Looking costs OpenDaylight some milliseconds, so a change is seen one interval later at most. A
switch that came is announced only when its table can be read and the config datastore holds no
flows for it: OpenDaylight pushes those at every connection, and takes them off the switch when they
are deleted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from sdn_client.drivers.opendaylight import documents
from sdn_client.drivers.opendaylight.datapaths import Presentation
from sdn_client.drivers.opendaylight.documents import NodeSeen
from sdn_client.drivers.opendaylight.restconf import Interrupted, Restconf
from sdn_client.drivers.port import ChassisState, ConnectivityEvent, DeviceEvent, PortsChanged
from sdn_client.errors import MalformedAnswer, SdnError

log = structlog.get_logger(__name__)

Listener = Callable[[DeviceEvent], None]


class Watch:
    """One thread that looks, one that tells."""

    def __init__(
        self,
        restconf: Restconf,
        presentations: Mapping[str, Presentation],
        is_readable: Callable[[str], bool],
        *,
        poll_interval_s: float,
        config_check_s: float,
    ) -> None:
        """`is_readable(chassis)`: whether the tables of all its switches can be read now."""
        self._restconf = restconf
        self._presentations = presentations
        self._is_readable = is_readable
        self._poll_interval_s = poll_interval_s
        self._config_check_s = config_check_s
        self._config_due_s = 0.0
        self._ours = {d.node_id for p in presentations.values() for d in p.datapaths}
        self._states = {
            name: ChassisState(connected=False, fault="OpenDaylight was not asked yet")
            for name in presentations
        }
        self._connections: dict[str, tuple[int | None, ...]] = {}
        self._mismatched: set[str] = set()
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()  # of the states and the listeners
        self._closed = threading.Event()
        self._teller = ThreadPoolExecutor(1, "opendaylight-events")
        self._thread = threading.Thread(target=self._run, name="opendaylight-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def states(self) -> Mapping[str, ChassisState]:
        with self._lock:
            return dict(self._states)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return unsubscribe

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._teller.shutdown()

    # --- looking

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                try:
                    self._look()
                except (SdnError, Interrupted) as error:
                    self._lose_all(error.detail if isinstance(error, SdnError) else str(error))
                except Exception as error:  # without this thread no switch ever comes back
                    log.error("looking at OpenDaylight failed", exc_info=error)
                    self._lose_all("an unexpected error; the log has it")
                self._closed.wait(self._poll_interval_s)
        finally:
            self._lose_all("the driver is closed")

    def _lose_all(self, fault: str) -> None:
        self._config_due_s = 0.0  # it may come back with other contents
        for name in self._presentations:
            self._take(name, ChassisState(connected=False, fault=fault), ())

    def _look(self) -> None:
        nodes = documents.read_inventory(self._restconf.get(documents.INVENTORY))
        if time.monotonic() >= self._config_due_s:
            self._clear_config()
            self._config_due_s = time.monotonic() + self._config_check_s
        for name, presentation in self._presentations.items():
            self._consider(name, presentation, nodes)

    def _consider(
        self, name: str, presentation: Presentation, nodes: Mapping[str, NodeSeen]
    ) -> None:
        state = presentation.state(nodes)
        connections = tuple(
            nodes[d.node_id].connection for d in presentation.datapaths if d.node_id in nodes
        )
        before = self._states[name]
        if state.connected and (not before.connected or connections != self._connections[name]):
            if before.connected:  # it went and came between two looks
                self._take(name, ChassisState(connected=False), ())
            try:
                if self._clear_config() or not self._is_readable(name):
                    return  # at the next look
            except MalformedAnswer as error:  # of this switch; the others are what they are
                state = ChassisState(connected=False, fault=error.detail)
                self._mismatched.add(name)
        if not state.connected and state.fault and name not in self._mismatched:
            # Ports and partitions of a switch that has just come arrive one after another.
            self._mismatched.add(name)
            state = ChassisState(connected=False)
        elif state.connected or not state.fault:
            self._mismatched.discard(name)
        self._take(name, state, connections)

    def _clear_config(self) -> bool:
        """Delete what the config datastore holds for our switches; whether there was anything."""
        stale = documents.nodes_with_config_flows(self._restconf.get(documents.CONFIG))
        ours = {node: count for node, count in stale.items() if node in self._ours}
        for node, count in ours.items():
            answer = self._restconf.delete(documents.config_node(node))
            log.warning(
                "flows in OpenDaylight's config datastore removed",
                node=node,
                flows=count,
                status=answer.status,
            )
        return bool(ours)

    # --- telling

    def _take(self, name: str, state: ChassisState, connections: tuple[int | None, ...]) -> None:
        with self._lock:
            before, self._states[name] = self._states[name], state
        self._connections[name] = connections
        if state.connected != before.connected:
            log.info("switch seen" if state.connected else "switch gone", chassis=name)
            self._tell(ConnectivityEvent(name, state.connected))
        elif state.connected and state != before:
            self._tell(PortsChanged(name))
        if state.fault and state.fault != before.fault:
            log.warning("switch not used", chassis=name, fault=state.fault)

    def _tell(self, event: DeviceEvent) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            self._teller.submit(listener, event).add_done_callback(_log_failure)


def _log_failure(told: Future[None]) -> None:
    error = told.exception()
    if error is not None:
        log.error("a listener to switch events failed", error=str(error), exc_info=error)
