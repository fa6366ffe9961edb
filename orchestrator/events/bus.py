"""Events inside this process. They only say that something changed; the database says what."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class OperationChanged:
    """State, step or progress of an operation changed."""

    operation_id: UUID


@dataclass(frozen=True)
class KeysChanged:
    """A link has more keys than before."""

    link: str


@dataclass(frozen=True)
class CircuitReleased:
    """Ports may be free again."""


@dataclass(frozen=True)
class TurnChanged:
    """A turn of Alice entered another state."""

    turn_id: UUID


@dataclass(frozen=True)
class AlarmChanged:
    """An alarm was raised, came again, is over or was acknowledged."""

    alarm_id: UUID


Event = OperationChanged | KeysChanged | CircuitReleased | TurnChanged | AlarmChanged


class EventBus:
    """Calls every listener in the publisher's thread; listeners must be quick."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Event], None]] = []

    def publish(self, event: Event) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(event)

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Returns the function that ends the subscription."""
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return unsubscribe
