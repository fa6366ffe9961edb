"""A Polatis by its own RESTCONF interface. UNTESTED ON HARDWARE: paths and YANG are public, the
behaviour is checked against an emulated device alone (`emulators/polatis`, profile `restconf`).

One batch is: read the table, DELETE what is to be parted, one PATCH with all pairs to be joined,
wait the switching time, read the table until it shows them. Never PUT, which would replace the
pairs of other users of the chassis; pairs of ports outside every virtual switch are theirs, and are
neither listed nor touched. A PATCH of a port in use could move it, so that is refused here before
it is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog

from sdn_client.drivers.conflicts import listed, ports_in_use
from sdn_client.drivers.light_watch import LightWatch
from sdn_client.drivers.polatis_tree import PolatisOptions, PolatisTree, TreeRefusal
from sdn_client.drivers.port import (
    ChassisState,
    CircuitDriver,
    ConnectivityEvent,
    DeviceEvent,
    PortsChanged,
)
from sdn_client.errors import (
    MalformedAnswer,
    NotConfirmed,
    OutcomeUnknown,
    SdnError,
    SwitchRefused,
    SwitchUnreachable,
    UnknownName,
)
from sdn_client.topology import Chassis, CrossConnect, PortRef, Topology
from timekeeping import Clock, SystemClock

log = structlog.get_logger(__name__)

_LOOK_AGAIN_S = 0.005
_DELETES_AT_ONCE = 8

Table = frozenset[CrossConnect]


def open_driver(options: Mapping[str, Any], topology: Topology) -> CircuitDriver:
    """Entry point: drive one Polatis of `topology`; `options` as `PolatisOptions`."""
    return PolatisDriver(PolatisOptions.model_validate(options), topology)


class PolatisDriver:
    """See the module. Other chassis of the topology are never connected here."""

    def __init__(
        self, options: PolatisOptions, topology: Topology, clock: Clock | None = None
    ) -> None:
        self._options = options
        self._topology = topology
        self._clock = clock or SystemClock()
        self._chassis = _chassis(options, topology)
        self._tree = PolatisTree(options, self._clock)
        self._watch = LightWatch(
            topology,
            self._chassis.name,
            self._clock,
            loss_of_light_dbm=options.loss_of_light_dbm,
            wait_to_restore_s=options.wait_to_restore_s,
        )
        self._state = ChassisState(connected=False)
        self._table: Table = frozenset()  # as we left it
        self._seen: Table = frozenset()  # as a batch read it last
        self._changes = 0
        self._changing = False
        self._batch = threading.Lock()
        self._state_lock = threading.Lock()
        self._listeners: list[Callable[[DeviceEvent], None]] = []
        self._teller = ThreadPoolExecutor(1, "polatis-events")
        self._deletes = ThreadPoolExecutor(_DELETES_AT_ONCE, "polatis-deletes")
        self._closed = threading.Event()
        self._poller = threading.Thread(
            target=self._poll_for_ever, name="polatis-poll", daemon=True
        )
        self._poller.start()

    # --- CircuitDriver

    def chassis_states(self) -> Mapping[str, ChassisState]:
        elsewhere = ChassisState(
            connected=False, fault=f"the driver polatis_restconf serves {self._chassis.name} alone"
        )
        states = {chassis.name: elsewhere for chassis in self._topology.chassis}
        return states | {self._chassis.name: self._state}

    def apply(
        self,
        *,
        connect: Collection[CrossConnect] = (),
        disconnect: Collection[CrossConnect] = (),
    ) -> None:
        asked = frozenset(connect), frozenset(disconnect)
        for chassis in {x.chassis for x in asked[0] | asked[1]}:
            self._reach(chassis)
        if not any(asked):
            return
        with self._batch:
            self._reach(self._chassis.name)  # it may have been closed or lost meanwhile
            rows = self._read()
            self._seen = frozenset(rows)
            was_ours = self._seen == self._table
            self._changing = True
            try:
                self._apply(rows, *asked)
            finally:
                # A table that was not ours to begin with is left to the poll, which tells it.
                if was_ours:
                    self._table = self._seen
                self._changes += 1
                self._changing = False

    def read_cross_connects(self, chassis: str) -> frozenset[CrossConnect]:
        self._reach(chassis)
        with self._batch:  # so that no half-made batch is seen
            self._reach(chassis)
            return frozenset(self._read())

    def subscribe(self, listener: Callable[[DeviceEvent], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        self._poller.join()
        with self._batch:
            with self._state_lock:
                self._state = ChassisState(connected=False, fault="the driver is closed")
            self._deletes.shutdown()
            self._teller.shutdown()
            self._tree.close()

    # --- one batch

    def _apply(self, rows: dict[CrossConnect, int], connect: Table, disconnect: Table) -> None:
        before = frozenset(rows)
        leaving, wanted = disconnect & before, connect - (before - disconnect)
        clashes = ports_in_use(wanted, before - leaving)
        refusals = [f"{x}: {why}" for x, why in clashes.items()]
        sent = bool(leaving)
        try:
            self._part([rows[x] for x in sorted(leaving)])
            if wanted and not refusals:
                sent = True
                refusals += self._join(wanted)
            if sent:
                self._wait_for_mirrors()
            after = self._settled_table(wanted, disconnect, refusals)
        except SdnError as error:
            raise self._unknown(connect | disconnect, error) from error
        missing, lingering = connect - after, (disconnect - connect) & after
        if refusals or missing or lingering:
            self._undo((connect & after) - before, refusals, missing, lingering)

    def _part(self, ingresses: list[int]) -> None:
        """Delete these pairs. A refused DELETE is settled by the table, so it is no refusal."""

        def remove(ingress: int) -> None:
            try:
                self._tree.remove(ingress)
            except TreeRefusal as refusal:
                log.warning("a DELETE was refused", ingress=ingress, reason=str(refusal))

        list(self._deletes.map(remove, ingresses))

    def _join(self, wanted: Table) -> list[str]:
        try:
            self._tree.merge([(x.in_port, x.out_port) for x in wanted])
        except TreeRefusal as refusal:
            return [f"{listed(wanted)}: {refusal}"]
        return []

    def _wait_for_mirrors(self) -> None:
        """Whatever the table shows: a pair may be in it before its mirrors stand still."""
        if not self._options.answers_settled:
            self._clock.wait(threading.Event(), self._chassis.switching_time_ms / 1000)

    def _settled_table(self, wanted: Table, disconnect: Table, refusals: list[str]) -> Table:
        """The table, when it shows what was asked or the time for that is over."""
        deadline = self._clock.monotonic() + self._options.confirm_timeout_s
        while True:
            self._seen = table = frozenset(self._read())
            is_shown = (bool(refusals) or wanted <= table) and not (disconnect - wanted) & table
            if is_shown or self._clock.monotonic() > deadline:
                return table
            self._clock.wait(threading.Event(), _LOOK_AGAIN_S)

    def _undo(self, made: Table, refusals: list[str], missing: Table, lingering: Table) -> None:
        """Part what a failed batch made, then raise why it failed."""
        name = f"The switch {self._chassis.name}"
        try:
            rows = self._read()
            self._part([rows[x] for x in sorted(made) if x in rows])
            left = made & self._settled_table(frozenset(), made, [])
        except SdnError as error:
            raise self._unknown(made, error) from error
        if left:
            raise OutcomeUnknown(
                f"{name} refused a batch and keeps a part of it: {listed(left)}.",
                next_step="The table is reconciled when the switch reconnects.",
            )
        if refusals:
            raise SwitchRefused(
                f"{name} refused {'; '.join(refusals)}.",
                next_step="Compare the switch's table with the circuits, then ask again.",
            )
        raise NotConfirmed(
            f"{name} does not show what was asked: missing {listed(missing)},"
            f" still joined {listed(lingering)}.",
            next_step="This switch cannot be trusted with circuits; see its log.",
        )

    def _unknown(self, asked: Table, error: SdnError) -> SdnError:
        self._gone(error)
        return OutcomeUnknown(
            f"The switch {self._chassis.name} did not confirm {listed(asked)}: {error.detail}",
            next_step="The switch's table is read again when it answers.",
        )

    # --- reading

    def _read(self) -> dict[CrossConnect, int]:
        """Our part of the table: each pair, and the ingress that is its key."""
        try:
            rows = self._tree.pairs()
        except SwitchUnreachable as error:
            self._gone(error)
            raise
        except MalformedAnswer as error:
            raise NotConfirmed(error.detail, next_step=error.next_step) from error
        name = self._chassis.name
        table = {CrossConnect(name, a, b): a for a, b in rows.items()}
        ours = {x: a for x, a in table.items() if any(map(self._is_ours, x.ports))}
        return ours

    def _is_ours(self, port: PortRef) -> bool:
        return self._topology.virtual_switch_of(port) is not None

    def _reach(self, chassis: str) -> None:
        state = self.chassis_states().get(chassis)
        if state is None or not state.connected:
            fault = f": {state.fault}" if state and state.fault else ""
            raise SwitchUnreachable(
                f"The switch {chassis} is not connected{fault}.",
                next_step=f"See whether {self._options.url} answers.",
            )

    # --- the poll thread

    def _poll_for_ever(self) -> None:
        while not self._closed.is_set():
            try:
                self._poll()
            except SdnError as error:
                self._gone(error)
            self._clock.wait(self._closed, self._options.poll_interval_s)

    def _poll(self) -> None:
        ports = self._tree.ports()
        missing = set(range(1, self._chassis.ports + 1)) - set(ports)
        if missing:
            raise NotConfirmed(
                f"the topology file gives {self._chassis.name} ports 1 to {self._chassis.ports},"
                f" the switch has {len(ports)} and lacks {sorted(missing)[:8]}",
                next_step="Correct the topology file.",
            )
        powers_dbm = self._tree.powers_dbm()
        table, drifted = self._look_for_drift()
        self._take(
            ChassisState(
                connected=True,
                ports=frozenset(ports),
                ports_down=frozenset(p for p, s in ports.items() if s in ("DISABLED", "FAILED")),
                ports_dark=self._watch.judge(powers_dbm, table),
            ),
            drifted,
        )

    def _look_for_drift(self) -> tuple[Table, bool]:
        """The table, and whether it changed without us since we left it."""
        known, changes = self._table, self._changes
        if self._changing:
            return known, False
        table = frozenset(self._read())
        if self._changing or changes != self._changes:
            return table, False  # a batch came in between
        self._table = table
        return table, table != known

    def _take(self, now: ChassisState, drifted: bool) -> None:
        with self._state_lock:
            before, self._state = self._state, now
        if not before.connected:
            log.info("switch connected", chassis=self._chassis.name, url=self._options.url)
        # HTTP has no session: a table that changed without us is a restart, or another's hand.
        if not before.connected or drifted:
            self._tell(ConnectivityEvent(self._chassis.name, connected=True))
        elif before.unusable_ports != now.unusable_ports:
            self._tell(PortsChanged(self._chassis.name))

    def _gone(self, error: SdnError) -> None:
        with self._state_lock:
            before = self._state
            fault = error.detail.rstrip(".")
            self._state = ChassisState(connected=False, fault=fault, ports=before.ports)
        if before.fault != fault:
            log.warning("the switch is not used", chassis=self._chassis.name, error=str(error))
        if before.connected:
            self._tell(ConnectivityEvent(self._chassis.name, connected=False))

    def _tell(self, event: DeviceEvent) -> None:
        for listener in list(self._listeners):
            self._teller.submit(listener, event).add_done_callback(_log_failure)


def _chassis(options: PolatisOptions, topology: Topology) -> Chassis:
    if options.chassis is not None:
        return topology.chassis_named(options.chassis)
    if len(topology.chassis) > 1:
        raise UnknownName(
            f"The topology has {len(topology.chassis)} chassis; which one is {options.url}?",
            next_step="Set the driver's option chassis.",
        )
    return topology.chassis[0]


def _log_failure(told: Future[None]) -> None:
    error = told.exception()
    if error is not None:
        log.error("a listener to the switch failed", error=str(error), exc_info=error)
