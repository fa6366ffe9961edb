"""One connection of one switch: its ports, and batches that its own table confirms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sdn_client import cflow_mod as of
from sdn_client.cflow_mod import messages as wire
from sdn_client.drivers.conflicts import impossible, listed, ports_in_use
from sdn_client.drivers.openflow.agents import Agent
from sdn_client.drivers.openflow.line import Line, Lost
from sdn_client.drivers.openflow.options import OpenFlowOptions
from sdn_client.drivers.openflow.readers import READERS, Table, TableReader
from sdn_client.errors import (
    NotConfirmed,
    OutcomeUnknown,
    SwitchRefused,
    SwitchUnreachable,
)
from sdn_client.topology import Chassis, CrossConnect, Topology

CrossConnects = frozenset[CrossConnect]


@dataclass(frozen=True)
class _Plan:
    connect: CrossConnects
    disconnect: CrossConnects
    faults: Mapping[CrossConnect, str]


class Session:
    """A switch, from HELLO to the end of its connection."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        options: OpenFlowOptions,
        agent: Agent,
        topology: Topology,
    ) -> None:
        self._options = options
        self._agent = agent
        self._topology = topology
        self._line = Line(writer)
        self._reader: TableReader | None = None
        self._batch = asyncio.Lock()
        self.chassis: Chassis | None = None
        self.is_dead = False
        self.ports: frozenset[int] = frozenset()
        self.ports_down: frozenset[int] = frozenset()
        self.ports_dark: frozenset[int] = frozenset()

    def identify(self, chassis: Chassis, ports: Collection[of.CircuitPort]) -> None:
        """The switch is `chassis`. Raises Unverified where its table can never be read."""
        self.chassis = chassis
        for port in ports:
            self._note_port(port)
        make = READERS[self._options.reader]
        self._reader = make(self._options, self._line, self._agent, chassis)

    async def serve(
        self,
        reader: asyncio.StreamReader,
        on_features: Callable[[of.FeaturesReply], None],
        on_port: Callable[[], None],
    ) -> None:
        """Read until the connection ends; `on_features` may raise to end it, `on_port` is called
        when a port went down or dark, or came back."""
        self._line.send(of.Hello(0), of.FeaturesRequest(0))
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
                self._line.send(of.EchoRequest(0))
                probed = True
                continue
            if not data:
                return
            probed = False
            for frame in frames.feed(data):
                self._take(of.decode(frame), on_features, on_port)
            if self.chassis is None and loop.time() > give_up_at:
                raise ConnectionAbortedError("the peer does not say which switch it is")

    async def read_table(self) -> CrossConnects:
        """All that is joined, when what moved has settled.

        Raises SwitchUnreachable, NotConfirmed or Unverified.
        """
        assert self._reader is not None
        try:
            return self._named(await self._reader.read())
        except (TimeoutError, Lost) as error:
            self.abort()
            raise SwitchUnreachable(
                f"{self._name} did not answer when its table was read.",
                next_step="See whether the switch runs; it is asked again when it reconnects.",
            ) from error

    async def apply(
        self, connect: Collection[CrossConnect], disconnect: Collection[CrossConnect]
    ) -> CrossConnects:
        """As `CircuitDriver.apply` for this chassis; what became joined."""
        async with self._batch:
            wanted, unwanted = frozenset(connect), frozenset(disconnect)
            plan = await self._plan(wanted, unwanted)
            before, after, refusals = await self._exchange(plan.connect, plan.disconnect)
            refusals += [f"{x}: {why}" for x, why in plan.faults.items()]
            made = (after - before) & wanted
            missing, lingering = wanted - after, (unwanted - wanted) & after
            if not (refusals or missing or lingering):
                return made
            await self._undo(made)
            if refusals:
                raise SwitchRefused(
                    f"{self._name} refused {'; '.join(refusals)}.",
                    next_step="Compare the switch's table with the circuits, then ask again.",
                )
            raise NotConfirmed(
                f"{self._name} does not show what was asked: missing {listed(missing)},"
                f" still joined {listed(lingering)}.",
                next_step="This switch cannot be trusted with circuits; see its log.",
            )

    def abort(self) -> None:
        """End the connection; every awaited answer fails."""
        self.is_dead = True
        self._line.abort()

    # --- ports

    def _take(
        self,
        message: of.Message,
        on_features: Callable[[of.FeaturesReply], None],
        on_port: Callable[[], None],
    ) -> None:
        match message:
            case of.EchoRequest():
                self._line.send(of.EchoReply(message.xid, message.data))
            case of.FeaturesReply():
                on_features(message)
            case of.CPortStatus():
                if self._note_port(message.port):
                    on_port()
            case _:
                self._line.take(message)

    def _note_port(self, port: of.CircuitPort) -> bool:
        """Take over what the switch says of a port; whether it went down or dark, or came back."""
        before = self.ports_down, self.ports_dark
        # Replaced, never changed in place: other threads look at them.
        this = {self._agent.chassis_port(port.port_no)}
        self.ports |= this
        is_down = port.config & wire.PORT_CONFIG_DOWN
        self.ports_down = self.ports_down | this if is_down else self.ports_down - this
        is_dark = port.state & wire.PORT_STATE_LINK_DOWN
        self.ports_dark = self.ports_dark | this if is_dark else self.ports_dark - this
        return before != (self.ports_down, self.ports_dark)

    # --- one batch

    async def _plan(self, wanted: CrossConnects, unwanted: CrossConnects) -> _Plan:
        """What is sent of a batch, and what cannot be. Where something cannot be, nothing is
        joined; what is to be parted is parted all the same."""
        faults = {x: why for x in wanted | unwanted if (why := self._unnameable(x))}
        if not self._agent.tells_refusals:
            # It would not say No, and parts whatever holds a port: so it is asked for nothing that
            # its table speaks against, and to part only what is joined as we think.
            table = await self.read_table()
            faults |= ports_in_use(wanted, table - unwanted) | impossible(self._topology, wanted)
            wanted, unwanted = wanted - (table - unwanted), unwanted & table
        return _Plan(frozenset() if faults else wanted, unwanted - faults.keys(), faults)

    def _unnameable(self, x: CrossConnect) -> str:
        try:
            for port in x.ports:
                self._agent.wire_port(port.port)
        except ValueError as error:
            return str(error)
        return ""

    async def _exchange(
        self, connect: CrossConnects, disconnect: CrossConnects
    ) -> tuple[CrossConnects, CrossConnects, list[str]]:
        """One batch: the table before, the table after, the refusals of `connect`."""
        assert self._reader is not None
        asked = {self._line.xid(): x for x in (*sorted(disconnect), *sorted(connect))}
        mods = [
            self._mod(xid, of.Command.DELETE if n < len(disconnect) else of.Command.ADD, x)
            for n, (xid, x) in enumerate(asked.items())
        ]

        def is_shown(table: Table) -> bool:
            shown = self._named(table)
            return connect <= shown and not (disconnect - connect) & shown

        with self._line.watching(asked) as refusals_so_far:
            try:
                before, after = await self._reader.around(mods, is_shown)
            except (TimeoutError, Lost) as error:
                # What a late answer would say is not known; a new connection starts clean.
                self.abort()
                raise OutcomeUnknown(
                    f"{self._name} did not confirm {listed(connect | disconnect)}: the connection"
                    " broke or was silent.",
                    next_step="The switch's table is read again when it reconnects.",
                ) from error
            # A refused DELETE is settled by the table: it shows the pair, or it does not.
            refusals = [
                f"{asked[xid]}: {why}"
                for xid, why in refusals_so_far().items()
                if asked[xid] in connect
            ]
        return self._named(before), self._named(after), refusals

    async def _undo(self, made: CrossConnects) -> None:
        if not made:
            return
        _, left, _ = await self._exchange(frozenset(), made)
        if left & made:
            raise OutcomeUnknown(
                f"{self._name} refused a batch and keeps a part of it: {listed(left & made)}.",
                next_step="The table is reconciled when the switch reconnects.",
            )

    def _mod(self, xid: int, command: of.Command, x: CrossConnect) -> of.CFlowMod:
        a, b = (self._agent.wire_port(port.port) for port in x.ports)
        return of.CFlowMod(xid, command, of.Components.fibre((a, b)))

    def _named(self, table: Table) -> CrossConnects:
        assert self.chassis is not None
        return frozenset(CrossConnect(self.chassis.name, a, b) for a, b in table)

    @property
    def _name(self) -> str:
        return f"The switch {self.chassis.name if self.chassis else '?'}"
