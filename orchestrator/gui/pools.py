"""Key pools as people look at them: of data centres, with what the schedule foresees."""

from __future__ import annotations

from dataclasses import dataclass

from key_management.states import KeyState
from orchestrator.gui.rooms import Rooms
from orchestrator.schedule.outlook import PoolOutlook


@dataclass(frozen=True)
class Pool:
    """The keys that the centre shares with one data centre. Times are real seconds from now."""

    link: str
    data_centre: str
    relayed: bool
    emulated: bool
    counts: dict[KeyState, int]
    target_keys: int
    capacity_keys: int
    outlook: PoolOutlook | None
    """None where no Alice serves the link: its keys are relayed."""
    next_keys_in_s: float | None
    runs_dry_in_s: float | None
    why_not: str | None = None
    """Why the last try to relay keys failed."""

    @property
    def level_keys(self) -> int:
        return self.counts[KeyState.AVAILABLE]

    @property
    def kind(self) -> str:
        """How it looks: ok, warn or bad."""
        if self.level_keys == 0:
            return "bad"
        return "warn" if self.level_keys * 4 < self.target_keys else "ok"


def pools_of(rooms: Rooms) -> list[Pool]:
    """The pools of all data centres, in the order of the settings."""
    outlooks = {outlook.link: outlook for outlook in rooms.schedule.pools()}
    return [
        _pool(rooms, data_centre.link, data_centre.name, outlooks.get(data_centre.link))
        for data_centre in rooms.data_centres.all()
    ]


def _pool(rooms: Rooms, link: str, data_centre: str, outlook: PoolOutlook | None) -> Pool:
    keys, relay, scale = rooms.keys, rooms.relay, rooms.schedule.scale

    def real_s(qkd_s: float | None) -> float | None:
        return None if qkd_s is None else qkd_s / scale

    return Pool(
        link,
        data_centre,
        relayed=link in relay.links,
        emulated=keys.holds_emulated(link),
        counts=keys.counts(link),
        target_keys=keys.wanted_keys(link),
        capacity_keys=keys.capacity_keys,
        outlook=outlook,
        next_keys_in_s=real_s(outlook.next_keys_in_s) if outlook else None,
        runs_dry_in_s=real_s(outlook.runs_dry_in_s) if outlook else None,
        why_not=relay.why_not(link),
    )
