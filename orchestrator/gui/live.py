"""`/gui/events`: tells an open page which topics changed; the page asks for what it shows of them.

Changes within a moment are told once, so that a quick turn of Alice does not make pages flicker.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from orchestrator.accounts.identity import Via, asking
from orchestrator.accounts.recognition import cookie_in
from orchestrator.accounts.sessions import Sessions
from orchestrator.events.bus import (
    AlarmChanged,
    CircuitReleased,
    Event,
    EventBus,
    KeysChanged,
    OperationChanged,
    TurnChanged,
)

Topic = Literal["operations", "keys", "circuits", "turns", "alarms", "tick"]
_TOPICS: dict[type[Event], tuple[Topic, ...]] = {
    OperationChanged: ("operations",),
    KeysChanged: ("keys",),
    CircuitReleased: ("circuits",),
    TurnChanged: ("turns", "circuits"),
    AlarmChanged: ("alarms",),
}
_CALM_S = 0.7
_TICK_S = 5.0
_RECONNECT_MS = 1000
_FULL_RETRY_MS = 30_000
_PAGES_AT_MOST = 500


class Changes:
    """Topics that changed since somebody last looked; fed from any thread."""

    def __init__(self, bus: EventBus, wanted: frozenset[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._wanted = wanted
        self._changed: set[str] = set()
        self._there = asyncio.Event()
        self._unsubscribe = bus.subscribe(self._note)

    def _note(self, event: Event) -> None:
        topics = self._wanted.intersection(_TOPICS[type(event)])
        if topics and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._add, topics)

    def _add(self, topics: frozenset[str]) -> None:
        self._changed |= topics
        self._there.set()

    async def next(self, patience_s: float) -> set[str]:
        """What changed, as soon as something did; nothing after `patience_s`."""
        try:
            await asyncio.wait_for(self._there.wait(), patience_s)
        except TimeoutError:
            return set()
        self._there.clear()
        changed, self._changed = self._changed, set()
        return changed

    def close(self) -> None:
        self._unsubscribe()


def live_router(bus: EventBus, sessions: Sessions) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    places = Places(_PAGES_AT_MOST)

    @router.get("/gui/events")
    async def events(
        request: Request, topics: Annotated[list[Topic], Query(min_length=1)]
    ) -> StreamingResponse:
        """Ends when the session does."""
        who, cookie = asking(), cookie_in(Headers(scope=request.scope))

        def goes_on() -> bool:
            if who is None or who.via is not Via.SESSION or cookie is None:
                return who is not None
            return sessions.identity_of(cookie, seen=False) is not None

        stream = places.stream(follow(bus, frozenset(topics), goes_on))
        return StreamingResponse(stream, media_type="text/event-stream")

    return router


class Places:
    """How many pages are told of changes at once; used in the event loop's thread alone."""

    def __init__(self, at_most: int) -> None:
        self._free = at_most

    async def stream(self, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """`events`; where no place is free, no more than when to ask again."""
        async with aclosing(events):
            if self._free <= 0:
                yield f"retry: {_FULL_RETRY_MS}\n\n"
                return
            self._free -= 1
            try:
                async for event in events:
                    yield event
            finally:
                self._free += 1


async def follow(
    bus: EventBus, topics: frozenset[str], goes_on: Callable[[], bool]
) -> AsyncGenerator[str, None]:
    """Server-sent events `changed`, each with a list of topics; `tick` comes of itself."""
    loop = asyncio.get_running_loop()
    changes = Changes(bus, topics)
    tick_at_s = loop.time() + _TICK_S
    try:
        yield f"retry: {_RECONNECT_MS}\n\n"
        while True:
            changed = await changes.next(max(0.0, tick_at_s - loop.time()))
            if loop.time() >= tick_at_s:
                tick_at_s = loop.time() + _TICK_S
                if not await run_in_threadpool(goes_on):
                    return
                changed |= topics & {"tick"}
            yield f"event: changed\ndata: {json.dumps(sorted(changed))}\n\n"
            await asyncio.sleep(_CALM_S)
    finally:
        changes.close()
