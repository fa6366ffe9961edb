"""The stream of changes: only what a page shows, told once a moment, and ended with the session."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from uuid import uuid4

import pytest

from orchestrator.events.bus import AlarmChanged, EventBus, KeysChanged, TurnChanged
from orchestrator.gui import live
from orchestrator.gui.live import Places, follow


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_CALM_S", 0.02)
    monkeypatch.setattr(live, "_TICK_S", 0.2)


async def told(stream: AsyncIterator[str]) -> list[str]:
    """The topics of the next event."""
    lines = (await anext(stream)).splitlines()
    assert lines[0] == "event: changed"
    topics: list[str] = json.loads(lines[1].removeprefix("data: "))
    return topics


def test_changes_are_told_by_topic_and_once_a_moment() -> None:
    bus = EventBus()

    async def look() -> list[list[str]]:
        stream = follow(bus, frozenset({"keys", "turns", "circuits"}), lambda: True)
        assert (await anext(stream)).startswith("retry: ")
        change = threading.Thread(
            target=lambda: [
                bus.publish(event)
                for event in (
                    AlarmChanged(uuid4()),
                    *[KeysChanged("a--b")] * 50,
                    *[TurnChanged(uuid4())] * 50,
                )
            ]
        )
        first = asyncio.ensure_future(told(stream))
        await asyncio.sleep(0)
        change.start()
        change.join()
        found = [await first, await told(stream)]
        await stream.aclose()
        return found

    first, second = asyncio.run(look())
    assert {*first, *second} == {"keys", "turns", "circuits"}  # nothing of the alarm
    assert bus._listeners == []


def test_the_tick_comes_by_itself_to_who_wants_it() -> None:
    async def look(topics: frozenset[str]) -> list[str]:
        stream = follow(EventBus(), topics, lambda: True)
        await anext(stream)
        return await told(stream)

    assert asyncio.run(look(frozenset({"tick", "keys"}))) == ["tick"]
    assert asyncio.run(look(frozenset({"keys"}))) == []  # so the line is known to stand


def test_the_stream_ends_with_the_session_and_leaves_nothing() -> None:
    bus = EventBus()
    answers = iter([True, False])

    async def look() -> int:
        return len(
            [event async for event in follow(bus, frozenset({"tick"}), lambda: next(answers))]
        )

    assert asyncio.run(look()) == 2  # the beginning, one tick
    assert bus._listeners == []


def test_one_page_too_many_is_sent_away_for_a_while_and_a_place_comes_back() -> None:
    bus = EventBus()

    async def look() -> list[str]:
        places = Places(1)

        def opened() -> AsyncGenerator[str, None]:
            return places.stream(follow(bus, frozenset({"tick"}), lambda: True))

        first = opened()
        begun = [await anext(first)]
        begun += [event async for event in opened()]  # ends by itself
        await first.aclose()
        again = opened()
        begun.append(await anext(again))
        await again.aclose()
        return begun

    assert asyncio.run(look()) == ["retry: 1000\n\n", "retry: 30000\n\n", "retry: 1000\n\n"]
    assert bus._listeners == []
