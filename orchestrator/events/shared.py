"""Events of one replica, told to the others over Redis.

They stay what they are: a hint that something changed. One that gets lost costs a look later, so
nothing is kept, and a Redis that is away holds up nobody.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, get_args
from uuid import UUID

import structlog
from redis import Redis
from redis.exceptions import RedisError

from orchestrator.events.bus import Event, EventBus
from timekeeping import Clock

log = structlog.get_logger(__name__)

_CHANNEL: Final = "qnfv-events"
_KNOWN: Final[dict[str, type[Event]]] = {kind.__name__: kind for kind in get_args(Event)}
_MOST_WAITING: Final = 1000
_LOOK_S: Final = 0.5
_AGAIN_S: Final = 1.0


class SharedEvents:
    """Two threads: one tells, one listens."""

    def __init__(
        self, bus: EventBus, client: Redis, clock: Clock, *, who: str, namespace: str
    ) -> None:
        """`who` is nobody else's name; replicas with the same `namespace` hear each other."""
        self._bus = bus
        self._client = client
        self._clock = clock
        self._who = who
        self._channel = f"{namespace}:{_CHANNEL}"
        self._waiting: queue.Queue[Event] = queue.Queue(_MOST_WAITING)
        self._closing = threading.Event()
        self._heard = threading.local()
        self._threads = [
            threading.Thread(target=self._tell, name="events-told", daemon=True),
            threading.Thread(target=self._listen, name="events-heard", daemon=True),
        ]
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._unsubscribe = self._bus.subscribe(self._note)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._unsubscribe()
        self._closing.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(5 * _LOOK_S)
        self._client.close()

    def _note(self, event: Event) -> None:
        if getattr(self._heard, "now", False):
            return  # it came from another replica
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            log.warning("an event was not told to other replicas", event_kind=type(event).__name__)

    def _tell(self) -> None:
        while not self._closing.is_set():
            try:
                event = self._waiting.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            try:
                self._client.publish(self._channel, encode(event, self._who))
            except RedisError as error:
                log.warning("events are not told to other replicas", why=str(error))

    def _listen(self) -> None:
        self._heard.now = True
        while not self._closing.is_set():
            try:
                options = {"ignore_subscribe_messages": True}
                with self._client.pubsub(**options) as listening:  # type: ignore[no-untyped-call]
                    listening.subscribe(self._channel)
                    while not self._closing.is_set():
                        message = listening.get_message(timeout=_LOOK_S)
                        if message is not None:
                            self._hear(message["data"])
            except RedisError as error:
                log.warning("events of other replicas are not heard", why=str(error))
                self._clock.wait(self._closing, _AGAIN_S)

    def _hear(self, text: bytes) -> None:
        try:
            event = decode(text, unless_from=self._who)
        except ValueError as error:
            log.warning("an event of another replica is not understood", why=str(error))
            return
        if event is not None:
            self._bus.publish(event)


def encode(event: Event, who: str) -> str:
    """As it travels."""
    values = {name: str(value) for name, value in asdict(event).items()}
    return json.dumps({"from": who, "event": type(event).__name__, **values})


def decode(text: bytes | str, *, unless_from: str) -> Event | None:
    """The event; None for one's own. Raises ValueError for what is none."""
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("not an object")
    if document.pop("from", None) == unless_from:
        return None
    kind = _KNOWN.get(str(document.pop("event", None)))
    if kind is None:
        raise ValueError("an unknown event")
    if set(document) != set(kind.__dataclass_fields__):
        raise ValueError(f"{kind.__name__} with other values")
    values: dict[str, Any] = {
        name: UUID(str(value)) if name.endswith("_id") else str(value)
        for name, value in document.items()
    }
    return kind(**values)
