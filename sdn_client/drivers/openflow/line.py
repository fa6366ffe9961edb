"""One connection's messages, and who waits for which answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass

from sdn_client import cflow_mod as of
from sdn_client.cflow_mod import messages as wire
from sdn_client.errors import MalformedMessage

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


class Lost(Exception):
    """The connection ended, or was of no more use, while an answer was awaited."""


def reason(error: of.ErrorMessage) -> str:
    """What an ERROR means, as far as it is known."""
    known = _REASONS.get((error.type, error.code))
    return f"{known or 'no reason known'} (OpenFlow error {error.type}/{error.code})"


@dataclass(frozen=True)
class Asked:
    """Requests that are to be sent, and their answers to come, in the same order."""

    requests: tuple[of.Message, ...]
    answers: tuple[asyncio.Future[of.Message], ...]


class Line:
    """Sends, and joins answers to requests by xid."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._xids = itertools.cycle(range(1, 1 << 31))
        self._waiting: dict[int, asyncio.Future[of.Message]] = {}
        self._parts: dict[int, list[of.FlowEntry]] = {}
        self._watched: dict[int, dict[int, str]] = {}

    def xid(self) -> int:
        return next(self._xids)

    def send(self, *messages: of.Message) -> None:
        self._writer.write(b"".join(of.encode(m) for m in messages))

    @contextlib.asynccontextmanager
    async def asking(self, *kinds: Callable[[int], of.Message]) -> AsyncIterator[Asked]:
        """Prepare one request of each of `kinds`; at the end, their answers are forgotten."""
        requests = tuple(kind(self.xid()) for kind in kinds)
        answers = tuple(self._expect(request.xid) for request in requests)
        try:
            yield Asked(requests, answers)
        finally:
            for request in requests:
                self._waiting.pop(request.xid, None)
                self._parts.pop(request.xid, None)

    @contextlib.contextmanager
    def watching(self, xids: Collection[int]) -> Iterator[Callable[[], dict[int, str]]]:
        """Keep the ERRORs for `xids`, which have no answer when all is well.

        The answer tells the reasons that came so far, by xid.
        """
        errors: dict[int, str] = {}
        self._watched |= dict.fromkeys(xids, errors)
        try:
            yield lambda: dict(errors)
        finally:
            for xid in xids:
                self._watched.pop(xid, None)

    def take(self, message: of.Message) -> None:
        """Hand `message` to who waits for it; an answer nobody asked for is dropped."""
        if isinstance(message, of.ErrorMessage) and message.xid in self._watched:
            self._watched[message.xid][message.xid] = reason(message)
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

    def abort(self) -> None:
        """End the connection; every awaited answer fails."""
        self._writer.transport.abort()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Lost("the connection broke"))
        self._waiting.clear()

    def _expect(self, xid: int) -> asyncio.Future[of.Message]:
        future = self._waiting[xid] = asyncio.get_running_loop().create_future()
        # A batch that failed earlier does not look at its later answers.
        future.add_done_callback(lambda f: None if f.cancelled() else f.exception())
        return future
