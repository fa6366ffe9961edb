"""`/schedule`: Alice's turns past, present and planned, promises, and orders about single Bobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from orchestrator.gui.gantt import Lane, Window, lanes_of
from orchestrator.gui.pages import Pages
from orchestrator.gui.phases import PHASES
from orchestrator.gui.rooms import Rooms
from orchestrator.schedule.outlook import PoolOutlook
from orchestrator.schedule.promises import Promise
from orchestrator.store.tables import TurnRow
from qkd_scheduler.policies import KEY_BIT
from qkd_scheduler.policies.forecast import Forecast

Hours = Literal["1", "6", "24"]
FORESEEN_QKD_S = 2 * 86_400.0
_TURNS = 1000
_TURNS_LISTED = 15
_PROMISES = 20


@dataclass(frozen=True)
class Coming:
    """A planned turn. Times are real seconds."""

    alice: str
    link: str
    starts_at: datetime
    set_up_qkd_s: float
    dwell_qkd_s: float
    gained_keys: int


class ScheduleView:
    """Each part is worked out when the page asks for it."""

    phase_titles = PHASES
    zooms = ("1", "6", "24")
    durations_s = (600, 3600, 8 * 3600, 86_400, 7 * 86_400)
    """That an order can be given for on the page; REST and `qnfv schedule` take any."""

    def __init__(self, rooms: Rooms, hours: Hours, now: datetime) -> None:
        self._rooms = rooms
        self._schedule = rooms.schedule
        self.hours = hours
        self.scale = rooms.schedule.scale
        self.window = Window.around(now, float(hours) * 3600, self.scale)

    @cached_property
    def leads(self) -> bool:
        return self._schedule.leads

    @cached_property
    def links(self) -> list[str]:
        return sorted(bob.link for bob in self.bobs)

    @cached_property
    def turns(self) -> list[TurnRow]:
        return self._rooms.timetable.since(self.window.begins_at, _TURNS)

    @cached_property
    def _plans(self) -> dict[str, Forecast]:
        # As far as others look too, so that one forecast serves all of them.
        return self._schedule.plan(FORESEEN_QKD_S / self.scale)

    @cached_property
    def lanes(self) -> list[Lane]:
        return lanes_of(self._schedule.links, self.turns, self._plans, self.window)

    @cached_property
    def latest(self) -> list[TurnRow]:
        return self._rooms.timetable.recent(_TURNS_LISTED)

    @cached_property
    def coming(self) -> list[Coming]:
        found = [
            Coming(
                alice,
                turn.link,
                self.window.now + timedelta(seconds=turn.starts_in_s / self.scale),
                turn.generates_in_s - turn.starts_in_s,
                turn.ends_in_s - turn.generates_in_s,
                int(turn.gained_bit // KEY_BIT),
            )
            for alice, plan in self._plans.items()
            for turn in plan.turns
            if not turn.under_way and turn.starts_in_s / self.scale < self.window.seconds / 2
        ]
        return sorted(found, key=lambda one: one.starts_at)[:_TURNS_LISTED]

    @cached_property
    def bobs(self) -> list[PoolOutlook]:
        return self._schedule.pools()

    def real_s(self, qkd_s: float | None) -> float | None:
        return None if qkd_s is None else qkd_s / self.scale

    @cached_property
    def promises(self) -> list[Promise]:
        """Those that wait first, then the newest of the others."""
        found = self._schedule.promises(_PROMISES)
        return sorted(found, key=lambda promise: promise.ended_at is not None)

    @cached_property
    def kept_share(self) -> float | None:
        return self._schedule.kept_share()


def schedule_page_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/schedule")
    def schedule(request: Request, hours: Hours = "6") -> HTMLResponse:
        """`hours` of QKD time are shown, half of them past."""
        return pages.answer(request, "schedule.html", ScheduleView(rooms, hours, rooms.clock.now()))

    return router
