"""Events of one replica reach the others, over a real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import get_args
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_redis import RealRedis

from orchestrator.events.bus import (
    AlarmChanged,
    CircuitReleased,
    Event,
    EventBus,
    KeysChanged,
    OperationChanged,
    TurnChanged,
)
from orchestrator.events.shared import SharedEvents, decode, encode
from timekeeping import SystemClock

EXAMPLES: list[Event] = [
    OperationChanged(uuid4()),
    KeysChanged("alice--bob-1"),
    CircuitReleased(),
    TurnChanged(uuid4()),
    AlarmChanged(uuid4()),
]


def test_every_kind_has_an_example() -> None:
    assert {type(event) for event in EXAMPLES} == set(get_args(Event))


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_what_is_told_is_heard(event: Event) -> None:
    assert decode(encode(event, "a"), unless_from="b") == event
    assert decode(encode(event, "a"), unless_from="a") is None


@given(st.binary() | st.text())
def test_what_is_no_event_is_told_apart(text: bytes | str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
        decode(text, unless_from="b")


@pytest.mark.parametrize(
    "text",
    [
        '{"event": "OperationChanged"}',
        '{"event": "OperationChanged", "operation_id": "x"}',
        '{"event": "OperationChanged", "operation_id": 7}',
        '{"event": "CircuitReleased", "more": "x"}',
        '{"event": "Exit"}',
        '{"event": ["KeysChanged"]}',
    ],
)
def test_half_an_event_is_none(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
        decode(text, unless_from="b")


class Replica:
    def __init__(self, server: RealRedis, name: str, namespace: str) -> None:
        self.bus = EventBus()
        self.heard: list[Event] = []
        self._changed = threading.Condition()
        self.bus.subscribe(self._note)
        self.shared = SharedEvents(
            self.bus, server.client, SystemClock(), who=name, namespace=namespace
        )
        self.shared.start()

    def _note(self, event: Event) -> None:
        with self._changed:
            self.heard.append(event)
            self._changed.notify_all()

    def hears(self, event: Event, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: event in self.heard, timeout_s)


@pytest.fixture
def replicas(redis_server: RealRedis) -> Iterator[list[Replica]]:
    namespace = uuid4().hex
    made = [Replica(redis_server, name, namespace) for name in "ab"]
    yield made
    for replica in made:
        replica.shared.close()


def told_until_heard(speaker: Replica, listener: Replica) -> Event:
    """An event that the listener has heard; what is told while nobody listens is lost."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        event = OperationChanged(uuid4())
        speaker.bus.publish(event)
        if listener.hears(event, 0.5):
            return event
    raise AssertionError("nothing is heard")


def test_each_hears_the_other_once_and_no_echo(replicas: list[Replica]) -> None:
    a, b = replicas
    event = told_until_heard(a, b)
    told_until_heard(b, a)
    assert a.heard.count(event) == b.heard.count(event) == 1


def test_a_redis_that_was_away_is_found_again(
    replicas: list[Replica], redis_server: RealRedis
) -> None:
    a, b = replicas
    told_until_heard(a, b)
    redis_server.kill()
    try:
        a.bus.publish(CircuitReleased())
        assert CircuitReleased() in a.heard, "those here hear it all the same"
    finally:
        redis_server.start()
    told_until_heard(a, b)
