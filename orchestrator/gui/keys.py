"""`/keys`: pools, what is made and used, quarantine, and where one key came from. Never a key."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from key_management.ledger import Interval, Quarantine
from key_management.relay.tables import RelayRouteRow
from key_management.states import ERASED, MEANING, KeyState
from orchestrator.errors import UnknownKeyIdError
from orchestrator.gui.pages import Pages
from orchestrator.gui.pools import Pool, pools_of
from orchestrator.gui.rooms import Rooms
from orchestrator.keys.trace import KeyTrace, KeyTracer

Hours = Literal["1", "6", "24"]
_INTERVALS = 60
_ROUTES = 10


@dataclass(frozen=True)
class Plot:
    """A pool's history for uPlot; `at_qkd_s` is QKD time before now, so never positive."""

    at_qkd_s: list[float]
    level_keys: list[int]
    made_keys: list[int]
    used_keys: list[int]

    @classmethod
    def of(cls, intervals: list[Interval], now: datetime, interval_s: float, scale: float) -> Plot:
        length = timedelta(seconds=interval_s)
        return cls(
            [round((one.begins_at + length - now).total_seconds() * scale, 1) for one in intervals],
            [one.level_keys for one in intervals],
            [one.made_keys for one in intervals],
            [one.used_keys for one in intervals],
        )

    @property
    def columns(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Hop:
    """A pool between two trusted nodes, as the node that allocates it counts it."""

    link: str
    from_node: str
    to_node: str
    counts: dict[KeyState, int]


class KeysView:
    """Each part is worked out when the page asks for it."""

    meaning = MEANING
    erased = ERASED
    zooms = ("1", "6", "24")

    def __init__(self, rooms: Rooms, hours: Hours, now: datetime) -> None:
        self._rooms = rooms
        self._now = now
        self.hours = hours
        self.scale = rooms.schedule.scale
        self.interval_qkd_s = float(hours) * 3600 / _INTERVALS

    @cached_property
    def pools(self) -> list[Pool]:
        return pools_of(self._rooms)

    @cached_property
    def plots(self) -> dict[str, Plot]:
        """By link."""
        interval_s = self.interval_qkd_s / self.scale
        return {
            data_centre.link: Plot.of(
                self._rooms.keys.history(
                    data_centre.link,
                    until=self._now,
                    interval_s=interval_s,
                    intervals=_INTERVALS,
                ),
                self._now,
                interval_s,
                self.scale,
            )
            for data_centre in self._rooms.data_centres.all()
        }

    @cached_property
    def quarantined(self) -> list[tuple[str, Quarantine]]:
        """With the link of each."""
        return [
            (data_centre.link, one)
            for data_centre in self._rooms.data_centres.all()
            for one in self._rooms.keys.quarantined(data_centre.link)
        ]

    @cached_property
    def hops(self) -> list[Hop]:
        """None where no key is relayed."""
        if not self._rooms.relay.links:
            return []
        return [
            Hop(hop.name, hop.from_node, hop.to_node, self._rooms.keys.counts(hop.name))
            for hop in self._rooms.relay.origin.hop_links
        ]

    @cached_property
    def routes(self) -> list[RelayRouteRow]:
        return self._rooms.relay.origin.routes(_ROUTES) if self._rooms.relay.links else []


@dataclass(frozen=True)
class TraceView:
    """What was asked for, and what is known of it."""

    key_id: str
    trace: KeyTrace | None
    why_not: str = ""
    meaning = MEANING


def keys_page_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/keys")
    def keys(request: Request, hours: Hours = "6") -> HTMLResponse:
        """Plots show so many `hours` of QKD time."""
        return pages.answer(request, "keys.html", KeysView(rooms, hours, rooms.clock.now()))

    @router.get("/keys/trace")
    def trace(request: Request, key_id: Annotated[str, Query(max_length=64)] = "") -> HTMLResponse:
        return pages.answer(request, "key_trace.html", _traced(rooms.key_tracer, key_id.strip()))

    return router


def _traced(tracer: KeyTracer, key_id: str) -> TraceView:
    if not key_id:
        return TraceView("", None)
    try:
        return TraceView(key_id, tracer.trace(UUID(key_id)))
    except ValueError:
        return TraceView(
            key_id, None, "That is no key id. Ids look like 0b3e8a52-7c1d-4f6e-9a80-d2f1c5b7e964."
        )
    except UnknownKeyIdError as error:
        return TraceView(key_id, None, str(error))
