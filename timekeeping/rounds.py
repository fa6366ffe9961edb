"""Work that is done again and again, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from timekeeping.clock import Clock


class Rounds:
    """Calls `work`, pauses `every_s` of `clock` or until woken, and so on until it is closed.

    What `work` raises ends the thread: it says itself which failures it outlives.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        clock: Clock,
        every_s: float,
        *,
        pauses_first: bool = False,
    ) -> None:
        self._work = work
        self._clock = clock
        self._every_s = every_s
        self._pauses_first = pauses_first
        self._closing = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is something to do: the pause ends, or the present round is followed by another."""
        self._woken.set()

    def close(self, patience_s: float = 5.0) -> None:
        """Begin no further round; the present one is waited for so long. Also before the start."""
        self._closing.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(patience_s)

    def _run(self) -> None:
        if self._pauses_first:
            self._clock.wait(self._woken, self._every_s)
        while True:
            self._woken.clear()
            if self._closing.is_set():  # asked after that: the end wakes too
                return
            self._work()
            self._clock.wait(self._woken, self._every_s)
