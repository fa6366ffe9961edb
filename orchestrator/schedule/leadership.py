"""Who leads, as this process may believe it: by the lease, and by its own monotonic clock.

A leader that cannot reach the database goes on while its lease surely lasts, so that a short fault
does not cost minutes of initialisation; it stops before anybody else could lead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from orchestrator.schedule.lease import Lease
from timekeeping import Clock

log = structlog.get_logger(__name__)

_SURE_SHARE: Final = 0.8
"""Of the lease's life, counted from before it was asked for: the rest is for clocks that drift."""
_JOIN_S: Final = 5.0


class Leadership:
    """Renews the lease in a thread of its own; a second one watches the deadline, since a database
    that hangs would hold the first."""

    def __init__(self, lease: Lease, clock: Clock, on_change: Callable[[int | None], None]) -> None:
        """`on_change` hears of every new fencing number, and None as soon as this process must
        not lead any more."""
        self._lease = lease
        self._clock = clock
        self._on_change = on_change
        self._changing = threading.Condition()
        self._closing = threading.Event()
        self._number: int | None = None
        self._until_s = 0.0
        self._threads = [
            threading.Thread(target=self._renew, name="lease", daemon=True),
            threading.Thread(target=self._watch, name="lease-deadline", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop renewing and let another take over."""
        self._closing.set()
        with self._changing:
            self._changing.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_JOIN_S)
        with self._changing:
            number, self._number = self._number, None
        if number is not None:
            self._lease.release()

    @property
    def fencing(self) -> int | None:
        """The number to command with; None if this process must not lead now."""
        with self._changing:
            return self._number if self._clock.monotonic() < self._until_s else None

    def _renew(self) -> None:
        while not self._closing.is_set():
            asked_s = self._clock.monotonic()
            try:
                number = self._lease.acquire()
                self._set(number, asked_s + _SURE_SHARE * self._lease.life_s)
            except Exception as error:  # noqa: BLE001 - the deadline decides, whatever failed
                log.error("the lease cannot be renewed", why=str(error))
            self._clock.wait(self._closing, self._lease.life_s / 4)

    def _watch(self) -> None:
        """Give up leading the moment when the deadline passes, renewal or not."""
        while not self._closing.is_set():
            with self._changing:
                left_s = self._until_s - self._clock.monotonic()
                if self._number is None or left_s > 0:
                    self._changing.wait(left_s if self._number is not None else None)
                    continue
                before, self._number = self._number, None
            log.error("the lease could not be renewed in time", fencing=before)
            self._on_change(None)

    def _set(self, number: int | None, until_s: float) -> None:
        with self._changing:
            before, self._number, self._until_s = self._number, number, until_s
            self._changing.notify_all()
        if number != before:
            if before is not None:
                log.warning("this orchestrator does not lead any more", fencing=before)
            self._on_change(number)
