"""Keys for operations: from the pool, or asked from Alice at the moment they are needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID, uuid4

import structlog

from image_transfer.header import Header
from image_transfer.keys import AttemptKeys, derive_attempt_keys
from key_management.errors import KeyStateError, NoKeyAvailableError
from key_management.extraction import AliceEnd, discard_remains
from key_management.ledger import KeyLedger, KeyRecord, Message
from key_management.sources.port import KeySource
from key_management.states import ERASED, KeyState
from orchestrator.datacentres.registry import DataCentres
from orchestrator.events.bus import EventBus, KeysChanged
from orchestrator.keys.bob_end import RemoteBobEnd

log = structlog.get_logger(__name__)


class KeyService:
    """Alice's key store. It is also the `Keys` port of the schedule's turns.

    `source_of` opens Alice's key server for a link; it is opened per extraction, since the server
    lives and dies with the unit's program.
    """

    def __init__(
        self,
        ledger: KeyLedger,
        source_of: Callable[[str], KeySource],
        data_centres: DataCentres,
        bus: EventBus,
        *,
        pool_target_keys: int,
    ) -> None:
        self._ledger = ledger
        self._source_of = source_of
        self._data_centres = data_centres
        self._bus = bus
        self.pool_target_keys = pool_target_keys
        self._lock = threading.Lock()
        self._on_demand: dict[str, list[UUID]] = {}

    # --- for operations -------------------------------------------------------------------------

    def reserve(self, link: str, operation_id: UUID) -> KeyRecord:
        """A key of the pool for this operation; the same one when asked again."""
        return self._ledger.reserve(link, operation_id)

    def reserve_on_demand(self, link: str, operation_id: UUID) -> KeyRecord:
        """The key that was extracted for this operation alone, as the paper does.

        Until there is one, the operation is put on the list of those whom the next generating turn
        serves, and NoKeyAvailableError is raised.
        """
        with self._lock:  # who has just been given a key must not ask for a second one
            held = self._ledger.held_by(link, operation_id)
            if held is not None:
                return held
            waiting = self._on_demand.setdefault(link, [])
            if operation_id not in waiting:
                waiting.append(operation_id)
        raise NoKeyAvailableError(
            f"No key was asked from Alice for this operation on {link} yet.",
            next_step="It is asked as soon as Alice serves this link.",
            link=link,
        )

    def held_by(self, link: str, operation_id: UUID) -> KeyRecord | None:
        """The key that this operation has reserved or armed."""
        return self._ledger.held_by(link, operation_id)

    def arm(self, link: str, key_id: UUID, message: Message) -> None:
        self._ledger.arm(link, key_id, message)

    def derive(self, link: str, key_id: UUID, message: Message, header: Header) -> AttemptKeys:
        """The keys of one attempt; the QKD key itself stays in the store."""
        return self._ledger.with_armed_key(
            link, key_id, message, lambda key: derive_attempt_keys(key, header)
        )

    def consume(self, link: str, key_id: UUID) -> None:
        self._ledger.consume(link, key_id)
        self._ledger.destroy_drained_epochs()

    def burn(self, link: str, key_id: UUID, reason: str) -> None:
        """Give up a key for ever; one that was consumed stays so."""
        if self._ledger.get(link, key_id).state not in ERASED:
            self._ledger.burn(link, key_id, reason)
        self._ledger.destroy_drained_epochs()

    def release(self, link: str | None, operation_id: UUID, reason: str) -> None:
        """The operation ended or waits no longer: unused keys go back, armed ones burn.

        `link` is None where nobody knows any more which it was.
        """
        with self._lock:
            for waiting in self._on_demand.values():
                if operation_id in waiting:
                    waiting.remove(operation_id)
        self._ledger.release(operation_id, reason)
        self._ledger.destroy_drained_epochs()
        if link is not None:
            self._bus.publish(KeysChanged(link))

    def waiting_on_demand(self, link: str) -> int:
        with self._lock:
            return len(self._on_demand.get(link, []))

    def counts(self, link: str) -> dict[KeyState, int]:
        return self._ledger.counts(link)

    def level(self, link: str) -> int:
        return self._ledger.counts(link)[KeyState.AVAILABLE]

    @property
    def capacity_keys(self) -> int:
        return self._ledger.capacity

    # --- for turns of Alice (qkd_scheduler.ports.Keys) ------------------------------------------

    def serve_waiting(self, link: str) -> int:
        served = 0
        while True:
            with self._lock:
                waiting = list(self._on_demand.get(link, []))
            if not waiting:
                return served
            ids = self._extract(link, limit=1)
            if not ids:
                return served
            served += self._hand_over(link, ids[0], waiting[0])
            self._bus.publish(KeysChanged(link))

    def _hand_over(self, link: str, key_id: UUID, operation_id: UUID) -> bool:
        """Reserve a fresh key for who waits for it; False if it found another user."""
        with self._lock:
            if operation_id not in self._on_demand[link]:
                return False  # it was ended meanwhile, and would never give the key back
            try:
                self._ledger.reserve_by_id(link, key_id, operation_id)
            except KeyStateError:
                return False  # an operation that takes from the pool was faster
            self._on_demand[link].remove(operation_id)
            return True

    def drain(self, link: str) -> int:
        served = self.serve_waiting(link)
        room = self._ledger.room_left(link)
        gained = len(self._extract(link, limit=room)) if room else 0
        if gained:
            self._bus.publish(KeysChanged(link))
        return served + gained

    def settle(self, link: str) -> None:
        """Discard at both ends what an interrupted extraction left; no unit is asked for that."""
        if not self._ledger.pending(link):
            return
        given_up = discard_remains(
            self._ledger, RemoteBobEnd(self._data_centres.at_link(link).slave), link
        )
        log.warning("half extracted keys discarded at both ends", link=link, keys=given_up)

    def _extract(self, link: str, *, limit: int) -> list[UUID]:
        source = self._source_of(link)
        try:
            bob = RemoteBobEnd(self._data_centres.at_link(link).slave)
            return AliceEnd(self._ledger, source, bob).extract(link, uuid4(), limit=limit)
        finally:
            source.close()
