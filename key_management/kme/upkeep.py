"""What a KME does by itself: fills its stores, lets old keys expire, ends what was interrupted."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import structlog
from sqlalchemy.exc import SQLAlchemyError

from key_management.extraction import AliceEnd, Extraction, PeerKeyStore, discard_remains
from key_management.kme.service import Kme
from key_management.kme.settings import LimitTable
from key_management.ledger import KeyLedger
from key_management.states import KeyState
from problem_details import ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)

_FILL_ROUND_KEYS = 512


@dataclass(frozen=True)
class FilledLink:
    """A link whose keys this KME fetches itself, at the end that allocates them."""

    name: str
    alice: AliceEnd
    bob: PeerKeyStore
    target_keys: int
    interval_s: float


class Filler:
    """Keeps one link's store at its target."""

    def __init__(self, link: FilledLink, ledger: KeyLedger, limits: LimitTable) -> None:
        self.link = link
        self._ledger = ledger
        self._limits = limits
        self._settled = False

    def round(self) -> int:
        """Expire, then fetch what is missing; returns how many keys came. Raises ProblemError."""
        link = self.link
        if not self._settled:
            discard_remains(link.alice, link.bob, link.name)
            self._settled = True
        self._expire()
        level = self._ledger.counts(link.name)[KeyState.AVAILABLE]
        missing = min(
            link.target_keys - level, self._ledger.room_left(link.name) - 1, _FILL_ROUND_KEYS
        )
        if missing <= 0:
            return 0
        extraction = Extraction(link.alice, link.bob)
        self._settled = False  # until this round is known to be whole
        gained = len(extraction.extract(link.name, limit=missing, turn=uuid4()))
        self._settled = True
        if gained:
            log.info("store filled", link=link.name, keys=gained, level=level + gained)
        return gained

    def _expire(self) -> None:
        lifetime_s = self._limits.key_lifetime_s
        if lifetime_s is None:
            return
        name = self.link.name
        # The allocating end first: it must never offer what the other end has dropped.
        expired = self.link.alice.expire(name, lifetime_s)
        self.link.bob.expire(name, lifetime_s + self._limits.expiry_grace_s)
        if expired:
            log.info("keys expired", link=name, keys=expired)


class Upkeep:
    """Threads of a KME: one for each link that it fills, one for what is left over."""

    def __init__(
        self, kme: Kme, fillers: Sequence[Filler], clock: Clock, *, interval_s: float
    ) -> None:
        self._kme = kme
        self._clock = clock
        self._interval_s = interval_s
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._fill, args=(filler,), name=f"fill {filler.link.name}")
            for filler in fillers
        ]
        self._threads.append(threading.Thread(target=self._settle, name="settle"))

    def start(self) -> None:
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(30)

    def _fill(self, filler: Filler) -> None:
        while not self._closing.is_set():
            gained = 0
            try:
                gained = filler.round()
            except (ProblemError, SQLAlchemyError) as error:
                log.warning("the store was not filled", link=filler.link.name, why=str(error))
            if gained < _FILL_ROUND_KEYS:
                self._clock.wait(self._closing, filler.link.interval_s)

    def _settle(self) -> None:
        while not self._clock.wait(self._closing, self._interval_s):
            try:
                self._kme.settle()
            except (ProblemError, SQLAlchemyError) as error:
                log.warning("what is left over was not settled", why=str(error))
