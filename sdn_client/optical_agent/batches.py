"""Collects changes that may start, and does them together: one switching time for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, Protocol, TypeVar

import structlog

from sdn_client.optical_agent.flows import Join, Part
from sdn_client.optical_agent.table import FlowTable, Outcome

log = structlog.get_logger(__name__)


class Change(Protocol):
    """A queued request to join or part."""

    @property
    def xid(self) -> int: ...

    @property
    def request(self) -> Join | Part: ...


C = TypeVar("C", bound=Change)


class Batches(Generic[C]):
    """One batch is on the device at a time; what comes meanwhile is the next one."""

    def __init__(
        self,
        table: FlowTable,
        device_thread: Executor,
        quiet_s: float,
        begin: Callable[[Sequence[C]], None],
        done: Callable[[Sequence[C], Sequence[Outcome]], None],
    ) -> None:
        """`quiet_s`: a batch begins when no change came for so long, or at four times that;
        `begin` is told which changes are in it, `done` what became of them."""
        self._table = table
        self._device_thread = device_thread
        self._quiet_s = quiet_s
        self._begin = begin
        self._done = done
        self._ready: list[C] = []
        self._some = asyncio.Event()
        self._last_at = 0.0

    def add(self, change: C) -> None:
        self._ready.append(change)
        self._last_at = asyncio.get_running_loop().time()
        self._some.set()

    async def run(self) -> None:
        """Work until cancelled. Raises what `FlowTable.run` raises."""
        loop = asyncio.get_running_loop()
        while True:
            await self._some.wait()
            await self._quiet()
            batch, self._ready = self._ready, []
            self._some.clear()
            self._begin(batch)
            begun = loop.time()
            requests = [change.request for change in batch]
            outcomes = await loop.run_in_executor(self._device_thread, self._table.run, requests)
            log.info(
                "batch done",
                xids=[change.xid for change in batch],
                joined=[
                    f"{r.in_port}-{r.out_port}"
                    for r, o in zip(requests, outcomes, strict=True)
                    if isinstance(r, Join) and o.refusal is None
                ],
                parted=[f"{f.in_port}-{f.out_port}" for o in outcomes for f in o.ended],
                refused=sum(o.refusal is not None for o in outcomes),
                ms=round((loop.time() - begun) * 1000, 1),
            )
            self._done(batch, outcomes)

    async def _quiet(self) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() + 4 * self._quiet_s
        while (left_s := min(self._last_at + self._quiet_s, latest) - loop.time()) > 0:
            await asyncio.sleep(left_s)
