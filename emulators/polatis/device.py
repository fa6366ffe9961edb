"""What all faces of the emulated switch share: mirrors, light, kept state, the word to the plant.

A face is a protocol: OpenFlow as the addendum or the agent of 2014 speaks it, TL1, RESTCONF.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from emulators.polatis.mirrors import Mirrors, Pair, Refusal
from emulators.polatis.plant_link import PlantLink

log = structlog.get_logger(__name__)


class Device:
    """One chassis. Its methods are for the one loop that serves all faces."""

    def __init__(self, mirrors: Mirrors, state_file: Path | None = None) -> None:
        """With `state_file`, cross-connects outlive a restart; without, it starts dark."""
        self.mirrors = mirrors
        self.dark: frozenset[int] = frozenset()
        """Ports whose fibre is cut, as the plant says."""
        self._state_file = state_file
        self._plant: PlantLink | None = None
        self._light_listeners: list[Callable[[frozenset[int]], None]] = []

    def attach(self, plant: tuple[str, int], retry_s: float) -> PlantLink:
        """Tell the plant which pairs pass light, and hear which fibres are cut; run the answer."""
        self._plant = PlantLink(
            *plant, self.mirrors.chassis.name, self.passing, self._light_changed, retry_s
        )
        return self._plant

    def on_light(self, listener: Callable[[frozenset[int]], None]) -> Callable[[], None]:
        """Call `listener` with the ports that went dark or came back; the answer ends that."""
        self._light_listeners.append(listener)
        return lambda: self._light_listeners.remove(listener)

    def connect(self, pairs: Sequence[Pair]) -> list[int]:
        """As `Mirrors.connect`, told to plant and state file."""
        return self._changed(self.mirrors.connect(pairs))

    def disconnect(self, pairs: Sequence[Pair]) -> list[int]:
        """As `Mirrors.disconnect`, told to plant and state file."""
        return self._changed(self.mirrors.disconnect(pairs))

    def replace(self, pairs: Sequence[Pair]) -> list[int]:
        """As `Mirrors.replace`, told to plant and state file."""
        return self._changed(self.mirrors.replace(pairs))

    def passing(self) -> list[Pair]:
        return [joined.pair for joined in self.mirrors.passing()]

    async def settle(self, still_at: float) -> None:
        """Wait until what moves until `still_at` (monotonic seconds; `Mirrors.still_at`) stands
        still, and see that the plant was told."""
        while (left_s := self.mirrors.left_s(still_at)) > 0:
            await asyncio.sleep(left_s)
        self._publish()

    def restore(self) -> None:
        """Take up the kept cross-connects, if there are any."""
        if self._state_file is None or not self._state_file.exists():
            return
        try:
            document = json.loads(self._state_file.read_text("utf-8"))
            self.connect([(int(a), int(b)) for a, b in document["cross_connects"]])
        except (OSError, ValueError, KeyError, TypeError, Refusal) as error:
            log.warning("the kept cross-connects cannot be used; starting dark", error=str(error))

    def _changed(self, ports: list[int]) -> list[int]:
        """What went dark is told now, what settles when it settled."""
        if ports:
            self._publish()
            self._save()
            left_s = self.mirrors.motion_left_s()
            asyncio.get_running_loop().call_later(left_s, self._publish)
        return ports

    def _publish(self) -> None:
        if self._plant is not None:
            self._plant.publish()

    def _save(self) -> None:
        if self._state_file is not None:
            spare = self._state_file.with_suffix(".new")
            spare.write_text(json.dumps({"cross_connects": self.mirrors.joined()}), "utf-8")
            spare.replace(self._state_file)

    def _light_changed(self, dark: frozenset[int]) -> None:
        changed, self.dark = self.dark ^ dark, dark
        if changed:
            log.info("fibres cut or repaired", dark=sorted(dark))
            for listener in list(self._light_listeners):
                listener(changed)
