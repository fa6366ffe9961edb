"""Erases keys that nobody took in all their lifetime."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.keys.service import KeyService
from timekeeping import QkdClock, Rounds, SystemClock

log = structlog.get_logger(__name__)

_LOOKS_A_LIFETIME = 20
_SHORTEST_PAUSE_S = 1.0


class KeyUpkeep:
    """A thread that expires keys, at both ends of every link, while this process leads.

    `lifetime_s` is QKD time; 0 lets keys live for ever. The stores count in wall time.
    """

    def __init__(
        self, keys: KeyService, clock: QkdClock, *, lifetime_s: float, leads: Callable[[], bool]
    ) -> None:
        self._keys = keys
        self._lifetime_s = clock.real_s(lifetime_s)
        self._leads = leads
        pause_s = max(_SHORTEST_PAUSE_S, self._lifetime_s / _LOOKS_A_LIFETIME)
        self._rounds = Rounds("key-upkeep", self._expire, SystemClock(), pause_s, pauses_first=True)

    def start(self) -> None:
        if self._lifetime_s > 0:
            self._rounds.start()

    def close(self) -> None:
        self._rounds.close(patience_s=10)

    def _expire(self) -> None:
        if not self._leads():
            return
        try:
            expired = self._keys.expire(self._lifetime_s)
        except SQLAlchemyError as error:
            log.error("keys cannot be expired", why=str(error))
            return
        if expired:
            log.info("keys expired", keys=expired)
