"""A unit's connection to the fibre plant: what it sees on its line, and the light it sends."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from problem_details import ProblemError

_LINE_LIMIT_OCTETS: Final = 256 * 1024
_RETRY_S: Final = 0.2


class PlantRefusalError(ProblemError):
    """The plant does not accept this unit, so trying again is of no use."""

    slug = "fibre-plant-refusal"
    title = "The fibre plant refused the unit"


@dataclass(frozen=True, slots=True)
class Channel:
    """A lit quantum path to `peer`."""

    peer: str
    loss_db: float
    fibre_km: float


class PlantLink:
    """Keeps the connection up. While there is none, the line is dark."""

    def __init__(
        self,
        plant: tuple[str, int],
        end_point: str,
        on_frame: Callable[[bytes, Channel], None],
    ) -> None:
        self._plant = plant
        self._end_point = end_point
        self._on_frame = on_frame
        self._writer: asyncio.StreamWriter | None = None
        self._changed = asyncio.Event()
        self.channel: Channel | None = None

    async def run(self) -> None:
        """Never returns; raises `PlantRefusalError` when the plant does not want this unit."""
        while True:
            try:
                reader, self._writer = await asyncio.open_connection(
                    *self._plant, limit=_LINE_LIMIT_OCTETS
                )
                self._send({"hello": "unit", "end_point": self._end_point})
                while line := await reader.readline():
                    self._receive(line)
            except (OSError, ValueError):
                # The plant is not up (any more), or sent a line beyond the limit.
                pass
            finally:
                self._set_channel(None)
                if self._writer is not None:
                    self._writer.close()
                    self._writer = None
            await asyncio.sleep(_RETRY_S)

    def emit(self, frame: bytes) -> None:
        """Send light down the line. Without a lit path it is gone."""
        if self._writer is not None and self.channel is not None:
            self._send({"frame": base64.b64encode(frame).decode()})

    async def lit(self) -> Channel:
        """Wait until the line is lit."""
        while self.channel is None:
            await self._changed.wait()
        return self.channel

    async def changes_from(self, channel: Channel | None, timeout_s: float) -> bool:
        """Whether the line changes from `channel` within `timeout_s` (real time).

        Every lighting is a `Channel` object of its own, so that a short darkness does not pass
        unseen.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self.channel is channel:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _send(self, message: dict[str, Any]) -> None:
        assert self._writer is not None
        self._writer.write(json.dumps(message).encode() + b"\n")

    def _receive(self, line: bytes) -> None:
        message = json.loads(line)
        if "error" in message:
            raise PlantRefusalError(
                f"The fibre plant refused the unit: {message['error']}.",
                next_step="Correct the end point's name, or stop the other unit of that name.",
            )
        if "channel" in message:
            seen = message["channel"]
            self._set_channel(Channel(**seen) if seen is not None else None)
        elif "frame" in message:
            arrival = Channel(message["from"], message["loss_db"], message["fibre_km"])
            try:
                octets = base64.b64decode(message["frame"], validate=True)
            except binascii.Error:
                return
            self._on_frame(octets, arrival)

    def _set_channel(self, channel: Channel | None) -> None:
        if channel == self.channel:
            return
        self.channel = channel
        self._changed.set()
        # Waiters that wait now are woken; later ones wait for the next change.
        self._changed.clear()
