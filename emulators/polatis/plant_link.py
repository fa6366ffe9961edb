"""Tells the fibre plant which pairs pass light, and hears which fibres are cut.

Lines of JSON over TCP, the whole state each time (emulators/fibre_plant/CONTROL.md).

-> {"hello": "switch", "chassis": "polatis-1"}
-> {"cross_connects": [[1, 4], [5, 7]]}
<- {"dark": [7, 17]}
<- {"error": "..."}
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import structlog

from emulators.polatis.mirrors import Pair

log = structlog.get_logger(__name__)

_MOST_UNSENT_BYTES = 1 << 20


class PlantLink:
    """Keeps a connection to the plant and repeats the state on every new one."""

    def __init__(
        self,
        host: str,
        port: int,
        chassis: str,
        passing: Callable[[], list[Pair]],
        on_dark: Callable[[frozenset[int]], None],
        retry_s: float,
    ) -> None:
        self._host, self._port = host, port
        self._chassis = chassis
        self._passing = passing
        self._on_dark = on_dark
        self._retry_s = retry_s
        self._writer: asyncio.StreamWriter | None = None
        self._told: list[Pair] | None = None

    def publish(self) -> None:
        """Tell the plant the state if it changed; without a connection, the next one tells."""
        state = self._passing()
        if self._writer is not None and state != self._told:
            self._told = state
            self._send({"cross_connects": [list(pair) for pair in state]})

    async def run(self) -> None:
        """Connect, hello, whole state; for ever."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
            except OSError as error:
                log.debug("fibre plant not reachable", error=str(error))
                await asyncio.sleep(self._retry_s)
                continue
            self._writer, self._told = writer, None
            try:
                self._send({"hello": "switch", "chassis": self._chassis})
                self.publish()
                await self._listen(reader)
            except (OSError, ValueError) as error:
                log.warning("connection to the fibre plant lost", error=str(error))
            finally:
                self._writer = None
                writer.close()
            await asyncio.sleep(self._retry_s)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        # A line beyond the reader's limit (64 KiB) raises ValueError and ends the connection.
        # What a plant said last holds while it is away.
        while line := await reader.readline():
            dark = _dark_ports(line)
            if dark is None:
                log.warning("the fibre plant says", message=line.decode("utf-8", "replace")[:500])
            else:
                self._on_dark(dark)

    def _send(self, document: dict[str, object]) -> None:
        assert self._writer is not None
        if self._writer.transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            self._writer.transport.abort()  # a plant that does not read hears all on reconnecting
            return
        self._writer.write(json.dumps(document).encode() + b"\n")


def _dark_ports(line: bytes) -> frozenset[int] | None:
    """The ports without light, or None when `line` says something else."""
    try:
        dark = json.loads(line)["dark"]
        return frozenset(int(port) for port in dark)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
