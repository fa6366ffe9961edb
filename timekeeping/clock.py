"""The clock port, its two real clocks and the fake that tests move by hand."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What logic may know about time. All durations are seconds of this clock."""

    def now(self) -> datetime:
        """The moment for records, with time zone UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed start; never goes back."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until `event` is set (True) or `timeout_s` seconds of this clock passed (False)."""
        ...


class SystemClock:
    """Wall and monotonic time as the machine tells them."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(timeout_s)


class QkdClock:
    """QKD time: `scale` seconds of it pass in one real second.

    `now()` is real wall time: records are never scaled. Processes that share a scale agree on
    durations, not on the value of `monotonic()`.
    """

    def __init__(self, scale: float = 1.0) -> None:
        if not scale > 0:
            raise ValueError(f"the time scale must be above 0, got {scale}")
        self.scale = scale
        self._start = time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return (time.monotonic() - self._start) * self.scale

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return event.wait(max(0.0, timeout_s) / self.scale)

    def real_s(self, qkd_s: float) -> float:
        """How many real seconds `qkd_s` seconds of this clock take."""
        return qkd_s / self.scale


class FakeClock:
    """A clock that stands still until a test calls `advance`."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._elapsed_s = 0.0
        self._moved = threading.Condition()

    def now(self) -> datetime:
        return self._now + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        with self._moved:
            self._elapsed_s += seconds
            self._moved.notify_all()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        deadline = self._elapsed_s + timeout_s
        with self._moved:
            while not event.is_set() and self._elapsed_s < deadline:
                # The event is not ours, so look at it again now and then.
                self._moved.wait(0.01)
        return event.is_set()
