"""How a switch's own table is read, before and after a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sdn_client import cflow_mod as of
from sdn_client.drivers.openflow.agents import Agent
from sdn_client.drivers.openflow.line import Line, Lost, reason
from sdn_client.drivers.openflow.options import OpenFlowOptions
from sdn_client.drivers.openflow.tl1_table import Tl1Table
from sdn_client.errors import NotConfirmed, SdnError, Unverified
from sdn_client.topology import Chassis

Table = frozenset[tuple[int, int]]
"""Joined pairs, lower port first, in the chassis' numbers."""

_LOOK_AGAIN_S = 0.005


class TableReader(Protocol):
    """Reads one switch. Raises Unverified where that can never be, NotConfirmed where an answer
    is no table, SwitchUnreachable before anything was sent, Lost or TimeoutError otherwise."""

    async def read(self) -> Table:
        """All that is joined, when what moved has settled."""
        ...

    async def around(
        self, mods: Sequence[of.CFlowMod], is_shown: Callable[[Table], bool]
    ) -> tuple[Table, Table]:
        """Send `mods`; the table before, and the one after when the mirrors stand still.

        `is_shown` says whether a table shows what was asked, for readers that may be early.
        """
        ...


class FlowStatsReader:
    """By OpenFlow 1.0 flow statistics on the same connection (CFLOW_MOD.md section 5)."""

    def __init__(
        self, options: OpenFlowOptions, line: Line, agent: Agent, chassis: Chassis
    ) -> None:
        self._timeout_s = options.confirm_timeout_s
        self._line = line
        self._agent = agent
        self._name = f"The switch {chassis.name}"
        self._was_read = False

    async def read(self) -> Table:
        async with self._line.asking(of.BarrierRequest, of.FlowStatsRequest) as asked:
            # Behind a barrier: a pair whose mirrors still move is not in the table yet.
            self._line.send(*asked.requests)
            barrier, table = asked.answers
            async with asyncio.timeout(self._timeout_s):
                barrier_passed(self._name, await barrier)
            try:
                async with asyncio.timeout(self._timeout_s):
                    joined = self._table(await table)
            except TimeoutError as error:
                if self._was_read:
                    raise  # it can be read, and is slow or broken now
                raise _unreadable(self._name, "it does not answer flow statistics") from error
            self._was_read = True
            return joined

    async def around(
        self,
        mods: Sequence[of.CFlowMod],
        is_shown: Callable[[Table], bool],  # noqa: ARG002  the barrier tells when to read
    ) -> tuple[Table, Table]:
        kinds = (of.BarrierRequest, of.FlowStatsRequest)
        async with self._line.asking(*kinds, *kinds) as asked:
            # All at once: the first reading tells what a refusal has to undo, the second whether
            # the switch did what it was told.
            self._line.send(*asked.requests[:2], *mods, *asked.requests[2:])
            still, before, barrier, after = asked.answers
            async with asyncio.timeout(self._timeout_s):
                barrier_passed(self._name, await still)
                table_before = self._table(await before)
                barrier_passed(self._name, await barrier)
                return table_before, self._table(await after)

    def _table(self, message: of.Message) -> Table:
        if isinstance(message, of.ErrorMessage):
            raise _unreadable(self._name, reason(message))
        if not isinstance(message, of.FlowStatsReply):
            raise _unreadable(self._name, "no table came")
        ours = self._agent.chassis_port
        ports = ((ours(e.in_port), ours(e.out_port)) for e in message.entries)
        return frozenset((min(a, b), max(a, b)) for a, b in ports)


class Tl1Reader:
    """Over TL1, beside OpenFlow. The agent's barrier says only that it passed our messages on, so
    the switching time is waited for, and then the table looked at until it shows what was asked."""

    def __init__(self, options: OpenFlowOptions, line: Line, _: Agent, chassis: Chassis) -> None:
        self._timeout_s = options.confirm_timeout_s
        self._line = line
        self._name = f"The switch {chassis.name}"
        self._switching_s = chassis.switching_time_ms / 1000
        address = options.tl1.get(chassis.name)
        if address is None:
            raise _unreadable(self._name, f"the option tl1 has no table {chassis.name}")
        self._tl1 = Tl1Table(address, self._name)

    async def read(self) -> Table:
        return await self._tl1.read()

    async def around(
        self, mods: Sequence[of.CFlowMod], is_shown: Callable[[Table], bool]
    ) -> tuple[Table, Table]:
        before = await self._tl1.read()
        async with self._line.asking(of.BarrierRequest) as asked:
            self._line.send(*mods, *asked.requests)
            async with asyncio.timeout(self._timeout_s):
                barrier_passed(self._name, await asked.answers[0])
        await asyncio.sleep(self._switching_s)
        try:
            return before, await self._look_until(is_shown)
        except SdnError as error:
            raise Lost(error.detail) from error

    async def _look_until(self, is_shown: Callable[[Table], bool]) -> Table:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        while True:
            table = await self._tl1.read()
            if is_shown(table) or loop.time() > deadline:
                return table
            await asyncio.sleep(_LOOK_AGAIN_S)


READERS: Final[dict[str, Callable[[OpenFlowOptions, Line, Agent, Chassis], TableReader]]] = {
    "flow-stats": FlowStatsReader,
    "tl1": Tl1Reader,
}


def barrier_passed(name: str, message: of.Message) -> None:
    """NotConfirmed unless `message` answers a barrier."""
    if not isinstance(message, of.BarrierReply):
        raise NotConfirmed(
            f"{name} does not answer barriers.",
            next_step="Circuits need a switch that says when its mirrors settled.",
        )


def _unreadable(name: str, why: str) -> Unverified:
    return Unverified(
        f"The table of {name.lower()} cannot be read: {why}.",
        next_step="Circuits need a switch that can be read back; see the driver's option reader.",
    )
