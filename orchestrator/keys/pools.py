"""The keys of one link, with both ends of its store, wherever those stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog

from key_management.extraction import (
    AliceStore,
    Extraction,
    KeyStoreEnd,
    PeerKeyStore,
    discard_remains,
)
from key_management.states import ERASED, KeyState
from problem_details import ProblemError

log = structlog.get_logger(__name__)

_GRACE = 1.1
"""Bob's end lets a key live so much longer, so that Alice's never offers what his has dropped."""
_GRACE_S = 60.0


@dataclass(frozen=True)
class KeyPool:
    """A link's two stores. Alice's end allocates; `counts` are hers."""

    link: str
    alice: KeyStoreEnd
    bob: KeyStoreEnd
    counts: Callable[[], dict[KeyState, int]]
    capacity_keys: int
    is_here: bool = True
    """Its keys are allocated by this process, not by a trusted node."""

    def level(self) -> int:
        return self.counts()[KeyState.AVAILABLE]

    def room_left(self) -> int:
        """How many further keys the capped pool takes."""
        live = sum(count for state, count in self.counts().items() if state not in ERASED)
        return max(0, self.capacity_keys - live)

    def quarantine(self, turn: UUID, reason: str) -> int:
        """Take a turn's unused keys out of use at both ends; Alice's, who allocates, first."""
        keys = self.alice.quarantine(self.link, turn, reason)
        try:
            self.bob.quarantine(self.link, turn, reason)
        except ProblemError as error:  # what Alice's end does not offer, his cannot be asked for
            log.warning("quarantined at one end only", link=self.link, why=error.detail)
        return keys

    def release_quarantined(self, turn: UUID) -> int:
        """Bob's end first: what Alice's offers, his must hold."""
        self.bob.release_quarantined(self.link, turn)
        return self.alice.release_quarantined(self.link, turn)

    def burn_quarantined(self, turn: UUID) -> int:
        keys = self.alice.burn_quarantined(self.link, turn)
        self.bob.burn_quarantined(self.link, turn)
        return keys

    def expire(self, lifetime_s: float) -> int:
        """Erase free keys older than that at Alice's end, a little later at Bob's."""
        keys = self.alice.expire(self.link, lifetime_s)
        self.bob.expire(self.link, lifetime_s * _GRACE + _GRACE_S)
        return keys

    def extract(self, turn_id: UUID, limit: int) -> list[UUID]:  # noqa: ARG002
        """A relayed link has no units; relay fills it."""
        return []

    def settle(self) -> int:
        """Discard at both ends what was left half done; returns how many keys were given up."""
        return 0


@dataclass(frozen=True)
class UnitPool(KeyPool):
    """A link whose keys come from an Alice and a Bob."""

    alice: AliceStore
    bob: PeerKeyStore

    def extract(self, turn_id: UUID, limit: int) -> list[UUID]:
        return Extraction(self.alice, self.bob).extract(self.link, limit=limit, turn=turn_id)

    def settle(self) -> int:
        return discard_remains(self.alice, self.bob, self.link)


class RemoteCounts:
    """A remote store's counts; what it said last while it does not answer."""

    def __init__(self, ask: Callable[[], dict[KeyState, int]]) -> None:
        self._ask = ask
        self._last = dict.fromkeys(KeyState, 0)

    def __call__(self) -> dict[KeyState, int]:
        try:
            self._last = self._ask()
        except ProblemError as error:
            log.info("a key store does not answer", why=error.detail)
        return dict(self._last)
