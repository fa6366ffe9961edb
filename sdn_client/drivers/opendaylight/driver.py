"""See the package. One batch: read the tables, one RPC for each switch, read the tables again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import structlog

from sdn_client.drivers.conflicts import listed, ports_in_use
from sdn_client.drivers.opendaylight import documents
from sdn_client.drivers.opendaylight.datapaths import Datapath, Presentation, present
from sdn_client.drivers.opendaylight.documents import FlowSeen
from sdn_client.drivers.opendaylight.options import OpenDaylightOptions
from sdn_client.drivers.opendaylight.restconf import Interrupted, Restconf
from sdn_client.drivers.opendaylight.watch import Watch
from sdn_client.drivers.port import ChassisState, DeviceEvent
from sdn_client.errors import (
    MalformedAnswer,
    NotConfirmed,
    OutcomeUnknown,
    SdnError,
    SwitchRefused,
    SwitchUnreachable,
)
from sdn_client.topology import CrossConnect, Topology

log = structlog.get_logger(__name__)

_BATCH_RPC = "sal-flat-batch:process-flat-batch"
_STATISTICS_RPC = "opendaylight-direct-statistics:get-flow-statistics"
_NO_RPC = frozenset({404, 501})  # OpenDaylight offers a switch's RPCs only while it is connected
_AT_ONCE = 16

Table = frozenset[CrossConnect]
Tables = dict[Datapath, tuple[FlowSeen, ...]]
_A = TypeVar("_A")
R = TypeVar("R")


@dataclass(frozen=True)
class _Work:
    """What one switch is asked in one batch."""

    datapath: Datapath
    remove: tuple[FlowSeen, ...]
    add: Table

    @property
    def pairs(self) -> Table:
        return self.add | {f.cross_connect for f in self.remove}


@dataclass(frozen=True)
class _Said:
    """What came back: nothing when all is well."""

    refusals: tuple[str, ...] = ()
    trouble: str = ""


class OpenDaylightDriver:
    """Obeys the contract of `CircuitDriver`."""

    def __init__(self, options: OpenDaylightOptions, topology: Topology) -> None:
        self._options = options
        self._topology = topology
        self._presentations: dict[str, Presentation] = present(topology)
        self._restconf = Restconf(options)
        self._batches = {name: threading.Lock() for name in self._presentations}
        self._calls = ThreadPoolExecutor(_AT_ONCE, "opendaylight-calls")
        self._closed = threading.Event()
        self._watch = Watch(
            self._restconf,
            self._presentations,
            self._is_readable,
            poll_interval_s=options.poll_interval_s,
            config_check_s=options.config_check_s,
        )
        self._watch.start()

    # --- CircuitDriver

    def chassis_states(self) -> Mapping[str, ChassisState]:
        return self._watch.states()

    def apply(
        self,
        *,
        connect: Collection[CrossConnect] = (),
        disconnect: Collection[CrossConnect] = (),
    ) -> None:
        wanted, unwanted = frozenset(connect), frozenset(disconnect)
        names = sorted({x.chassis for x in wanted | unwanted})
        for name in names:
            self._reach(name)
        shares = self._shares(wanted | unwanted)
        if not shares:
            return
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(self._batches[name])
            self._apply(shares, wanted, unwanted)

    def read_cross_connects(self, chassis: str) -> Table:
        self._reach(chassis)
        return self._whole(self._read(self._presentations[chassis].datapaths))

    def subscribe(self, listener: Callable[[DeviceEvent], None]) -> Callable[[], None]:
        return self._watch.subscribe(listener)

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        self._watch.close()
        self._calls.shutdown()
        self._restconf.close()

    # --- one batch

    def _apply(self, shares: dict[Datapath, Table], wanted: Table, unwanted: Table) -> None:
        before = self._read(shares)
        had = self._whole(before)
        work = [
            _Work(
                d,
                tuple(f for f in before[d] if f.cross_connect in unwanted),
                (share & wanted) - (had - unwanted),
            )
            for d, share in shares.items()
        ]
        said = self._send(work)
        after = self._read_or_unknown(shares, wanted | unwanted)
        if late := _asked_too_early(work, said, _pairs(after)):
            said = self._send_again(late)
            after = self._read_or_unknown(shares, wanted | unwanted)
        has = self._whole(after)
        missing, lingering = wanted - has, (unwanted - wanted) & _pairs(after)
        if not missing and not lingering:
            return
        self._undo(after, (has - had) & wanted)
        self._fail(said, missing, lingering, has)

    def _undo(self, tables: Tables, made: Table) -> None:
        """Part what this batch made. Raises OutcomeUnknown when it stays."""
        if not made:
            return
        undoing = [
            _Work(d, gone, frozenset())
            for d, flows in tables.items()
            if (gone := tuple(f for f in flows if f.cross_connect in made))
        ]
        self._send_again(undoing)
        left = _pairs(self._read_or_unknown([w.datapath for w in undoing], made)) & made
        if left:
            raise OutcomeUnknown(
                f"A batch failed and a part of it stays joined: {listed(left)}.",
                next_step="Compare the switch's table with the circuits.",
            )

    def _fail(
        self, said: Mapping[Datapath, _Said], missing: Table, lingering: Table, has: Table
    ) -> None:
        refusals = [r for one in said.values() for r in one.refusals]
        troubles = [one.trouble for one in said.values() if one.trouble]
        if refusals:
            clashes = ports_in_use(missing, has)
            pairs = "; ".join(
                f"{x}: {clashes[x]}" if x in clashes else str(x) for x in sorted(missing)
            )
            raise SwitchRefused(
                f"The switch refused a batch: {'; '.join(dict.fromkeys(refusals))}."
                f" Not joined: {pairs or 'none'}. Not parted: {listed(lingering)}.",
                next_step="Compare the switch's table with the circuits, then ask again.",
            )
        raise NotConfirmed(
            f"The switch does not show what was asked: missing {listed(missing)}, still joined"
            f" {listed(lingering)}{'; OpenDaylight says ' if troubles else ''}"
            f"{'; '.join(troubles)}.",
            next_step="See the logs of OpenDaylight and of the optical agent.",
        )

    # --- calls

    def _send(self, work: Iterable[_Work]) -> dict[Datapath, _Said]:
        """One RPC for each switch, all at once. Raises SwitchUnreachable when nothing was sent,
        OutcomeUnknown when some outcome is not known."""
        busy = [w for w in work if w.remove or w.add]
        answers = self._at_once(self._send_one, busy)
        errors = [a for a in answers if isinstance(a, Exception)]
        if errors:
            if all(isinstance(e, SwitchUnreachable) for e in errors) and len(errors) == len(busy):
                raise errors[0]
            raise self._unknown({x for w in busy for x in w.pairs}, errors[0])
        return {w.datapath: a for w, a in zip(busy, answers, strict=True) if isinstance(a, _Said)}

    def _send_again(self, work: list[_Work]) -> dict[Datapath, _Said]:
        """Like `_send` after something was sent already."""
        try:
            return self._send(work)
        except SwitchUnreachable as error:
            raise self._unknown({x for w in work for x in w.pairs}, error) from error

    def _send_one(self, work: _Work) -> _Said:
        node_id = work.datapath.node_id
        options = self._options
        given = documents.batch_input(
            node_id,
            work.remove,
            work.add,
            options.priority,
            both_directions=options.both_directions,
        )
        answer = self._restconf.invoke(_BATCH_RPC, given)
        if answer.is_success:
            return _Said()
        if refusals := documents.device_refusals(answer):
            return _Said(refusals)
        if answer.status in _NO_RPC:
            raise _away(work.datapath.chassis, documents.error_text(answer))
        return _Said(trouble=documents.error_text(answer))

    def _read(self, datapaths: Iterable[Datapath]) -> Tables:
        """The tables, all at once. Raises SwitchUnreachable or MalformedAnswer."""
        several = list(datapaths)
        tables = self._at_once(self._read_one, several)
        for table in tables:
            if isinstance(table, Exception):
                raise table
        return {d: t for d, t in zip(several, tables, strict=True) if isinstance(t, tuple)}

    def _read_one(self, datapath: Datapath) -> tuple[FlowSeen, ...]:
        try:
            answer = self._restconf.invoke(
                _STATISTICS_RPC, documents.statistics_input(datapath.node_id)
            )
        except Interrupted as error:
            raise _away(datapath.chassis, str(error)) from error
        if not answer.is_success:
            raise _away(datapath.chassis, documents.error_text(answer))
        return documents.read_statistics(answer, datapath.chassis)

    def _read_or_unknown(
        self, datapaths: Iterable[Datapath], asked: Iterable[CrossConnect]
    ) -> Tables:
        try:
            return self._read(datapaths)
        except (SwitchUnreachable, MalformedAnswer) as error:
            raise self._unknown(asked, error) from error

    def _at_once(self, call: Callable[[_A], R], items: list[_A]) -> list[R | Exception]:
        """The outcomes in order; one call is made in this thread."""

        def outcome(item: _A) -> R | Exception:
            try:
                return call(item)
            except (SdnError, Interrupted) as error:
                return error

        if len(items) == 1:
            return [outcome(items[0])]
        return list(self._calls.map(outcome, items))

    def _whole(self, tables: Tables) -> Table:
        """What is joined: one flow is enough for mirrors, a packet switch needs both directions."""
        if not self._options.both_directions:
            return _pairs(tables)
        ways = {(f.cross_connect, f.in_port) for flows in tables.values() for f in flows}
        return frozenset(x for x in _pairs(tables) if {(x, x.in_port), (x, x.out_port)} <= ways)

    # --- names

    def _unknown(self, asked: Iterable[CrossConnect], error: Exception) -> OutcomeUnknown:
        why = error.detail if isinstance(error, SdnError) else str(error)
        return OutcomeUnknown(
            f"It is not known what became of {listed(frozenset(asked))}: {why}",
            next_step="The switch's table is read again when it can be reached.",
        )

    def _shares(self, asked: Table) -> dict[Datapath, Table]:
        """Which switch is asked for which pairs."""
        shares: dict[Datapath, Table] = {}
        for x in asked:
            datapath = self._presentations[x.chassis].datapath_for(x)
            shares[datapath] = shares.get(datapath, frozenset()) | {x}
        return shares

    def _is_readable(self, chassis: str) -> bool:
        try:
            self._read(self._presentations[chassis].datapaths)
        except SwitchUnreachable:
            return False
        return True

    def _reach(self, chassis: str) -> None:
        self._topology.chassis_named(chassis)
        state = self._watch.states()[chassis]
        if self._closed.is_set() or not state.connected:
            raise _away(chassis, state.fault or "OpenDaylight does not see it")


def _pairs(tables: Tables) -> Table:
    return frozenset(f.cross_connect for flows in tables.values() for f in flows)


def _asked_too_early(
    work: Iterable[_Work], said: Mapping[Datapath, _Said], has: Table
) -> list[_Work]:
    """What was refused only because its ports were parted after it was asked for."""
    late = []
    for w in work:
        missing = w.add - has
        refused = w.datapath in said and said[w.datapath].refusals
        if refused and w.remove and missing and not ports_in_use(missing, has):
            late.append(_Work(w.datapath, (), missing))
    return late


def _away(chassis: str, why: str) -> SwitchUnreachable:
    return SwitchUnreachable(
        f"The switch {chassis} is not connected to OpenDaylight: {why.rstrip('.')}.",
        next_step="See whether its optical agent runs and reaches OpenDaylight.",
    )
