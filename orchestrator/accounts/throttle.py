"""How often somebody may fail to sign in."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable

from orchestrator.errors import TooManyTriesError
from timekeeping import Clock

_REMEMBERED = 10_000


class SignInThrottle:
    """Counts tries for each user name and each address within a window of time.

    Thread-safe, in memory: a restart forgets. A try counts from its beginning, so that many at
    once are many; one that succeeds is taken back.
    """

    def __init__(
        self, clock: Clock, *, per_user: int = 5, per_address: int = 30, window_s: float = 300.0
    ) -> None:
        self._clock = clock
        self._limits = {"user": per_user, "address": per_address}
        self._window_s = window_s
        self._lock = threading.Lock()
        self._tries: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def begin(self, user: str, address: str) -> None:
        """Count a try. Raises TooManyTriesError, with the seconds to wait in `retry_after_s`."""
        now_s = self._clock.monotonic()
        with self._lock:
            waits = [self._wait_s(key, now_s) for key in _keys(user, address)]
            if max(waits) > 0:
                raise TooManyTriesError(
                    "Signing in failed too often.",
                    next_step=f"Try again in {math.ceil(max(waits))} s. Whoever administrates the "
                    "accounts can set another password: `qnfv user passwd`.",
                    retry_after_s=math.ceil(max(waits)),
                )
            for key in _keys(user, address):
                self._tries.setdefault(key, deque()).append(now_s)
                self._tries.move_to_end(key)
            while len(self._tries) > _REMEMBERED:
                self._tries.popitem(last=False)

    def succeeded(self, user: str, address: str) -> None:
        """The try was no failure: the user starts anew, the address has one try less."""
        user_key, address_key = _keys(user, address)
        with self._lock:
            self._tries.pop(user_key, None)
            if tries := self._tries.get(address_key):
                tries.pop()

    def _wait_s(self, key: tuple[str, str], now_s: float) -> float:
        tries = self._tries.get(key)
        if not tries:
            return 0.0
        while tries and tries[0] <= now_s - self._window_s:
            tries.popleft()
        if len(tries) < self._limits[key[0]]:
            return 0.0
        return tries[0] + self._window_s - now_s


def _keys(user: str, address: str) -> Iterable[tuple[str, str]]:
    return ("user", user), ("address", address)
