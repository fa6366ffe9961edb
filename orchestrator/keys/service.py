"""Keys for operations: from the pool, or asked from Alice at the moment they are needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import structlog

from image_transfer.header import Header
from image_transfer.keys import AttemptKeys, derive_attempt_keys
from key_management.errors import KeyStateError, NoKeyAvailableError
from key_management.ledger import Interval, KeyLedger, KeyRecord, Message, Quarantine
from key_management.states import ERASED, KeyState
from orchestrator.errors import UnknownLinkError
from orchestrator.events.bus import EventBus, KeysChanged
from orchestrator.keys.pools import KeyPool
from problem_details import ProblemError

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


class KeyService:
    """The key stores of all links. It is also the `Keys` port of the schedule's turns.

    Keys for operations come from this end's own ledger; `pools` also has the links between trusted
    nodes, which this process only looks after.
    """

    def __init__(
        self,
        ledger: KeyLedger,
        pools: Mapping[str, KeyPool],
        bus: EventBus,
        *,
        pool_target_keys: int,
        taken_by_relay: Callable[[str, datetime], int] = lambda *_: 0,
    ) -> None:
        """`taken_by_relay` counts what relay took of a link whose keys are not allocated here."""
        self._taken_by_relay = taken_by_relay
        self._ledger = ledger
        self._pools = dict(pools)
        self._bus = bus
        self.pool_target_keys = pool_target_keys
        self._lock = threading.Lock()
        self._on_demand: dict[str, list[UUID]] = {}
        self._needs: dict[str, dict[UUID | str, int]] = {}

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

    def reserve_pad(self, link: str, operation_id: UUID, blocks: int) -> list[KeyRecord]:
        """A one-time pad of so many 32-byte blocks for this operation, all or none. Repeatable.

        Until there are enough, the pool is to be filled that far, and NoKeyAvailableError is
        raised.
        """
        with self._lock:
            try:
                held = self._ledger.reserve_many(link, operation_id, blocks)
            except NoKeyAvailableError:
                self._needs.setdefault(link, {})[operation_id] = blocks
                raise
            self._needs.get(link, {}).pop(operation_id, None)
            return held

    def pad_of(self, link: str, operation_id: UUID) -> list[KeyRecord]:
        """The blocks that this operation has reserved or armed, in their order."""
        return self._ledger.held_by_all(link, operation_id)

    def promised_to(self) -> set[UUID]:
        """Who holds keys of this end's own that protect nothing yet."""
        here = [pool.link for pool in self._pools.values() if pool.is_here]
        return self._ledger.owners_of_reserved(here)

    def owned_by(self, link: str, owner: UUID) -> list[UUID]:
        """Every key that `owner` was promised and never gave back, whatever its state is."""
        return [record.key_id for record in self._ledger.owned_by(link, owner)]

    def blocks_of(self, link: str, operation_id: UUID) -> list[UUID]:
        """All blocks of this operation's pad in their order, also those that are used up.

        Blocks of a reservation that broke (a part was taken out of use) belong to no pad.
        """
        return [
            record.key_id
            for record in self._ledger.owned_by(link, operation_id)
            if record.state is not KeyState.BURNED
        ]

    def arm_pad(self, link: str, blocks: Sequence[UUID], message: Message) -> None:
        self._ledger.arm_all(link, blocks, message)

    def with_blocks(
        self,
        link: str,
        blocks: Sequence[UUID],
        message: Message,
        use: Callable[[bytearray], Result],
    ) -> Result:
        """Call `use` with these armed blocks joined; the buffer is wiped afterwards."""
        return self._ledger.with_armed_keys(link, blocks, message, use)

    def consume_blocks(self, link: str, blocks: Sequence[UUID]) -> None:
        """These blocks of a pad have done their work: erase them. Repeatable."""
        self._ledger.consume_all(link, blocks)
        self._ledger.destroy_drained_epochs()

    def burn_pad(self, link: str, operation_id: UUID, reason: str) -> None:
        """Give up a pad for ever."""
        blocks = [record.key_id for record in self.pad_of(link, operation_id)]
        self._ledger.burn_all(link, blocks, reason)
        self._ledger.destroy_drained_epochs()

    def need(self, link: str, who: str, keys: int) -> None:
        """`who` waits for so many keys of this link at once; 0 when it does not any more."""
        with self._lock:
            if keys > 0:
                self._needs.setdefault(link, {})[who] = keys
            else:
                self._needs.get(link, {}).pop(who, None)

    def wanted_keys(self, link: str) -> int:
        """How full the pool should be: its target, and what pads and relays wait for."""
        with self._lock:
            waiting = sum(self._needs.get(link, {}).values())
        return min(self.pool(link).capacity_keys, max(self.pool_target_keys, waiting))

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
            for needs in self._needs.values():
                needs.pop(operation_id, None)
        self._ledger.release(operation_id, reason)
        self._ledger.destroy_drained_epochs()
        if link is not None:
            self._bus.publish(KeysChanged(link))

    def waiting_on_demand(self, link: str) -> int:
        with self._lock:
            return len(self._on_demand.get(link, []))

    def counts(self, link: str) -> dict[KeyState, int]:
        """How many keys of a link are in each state, at Alice's end."""
        return self.pool(link).counts()

    def level(self, link: str) -> int:
        return self.pool(link).level()

    def holds_emulated(self, link: str) -> bool:
        """Whether a free key of this link was made without a photon."""
        return self._ledger.holds_emulated(link)

    def taken_since(self, link: str, since: datetime) -> int:
        """How many keys left the pool for use since then."""
        if self.pool(link).is_here:
            return self._ledger.taken_since(link, since)
        return self._taken_by_relay(link, since)

    def history(
        self, link: str, *, until: datetime, interval_s: float, intervals: int
    ) -> list[Interval]:
        """What came into a link's pool and left it, at this end; oldest interval first."""
        link = self.pool(link).link
        return self._ledger.history(link, until=until, interval_s=interval_s, intervals=intervals)

    def record(self, link: str, key_id: UUID) -> KeyRecord:
        """What may be said about a key. UnknownKeyError."""
        return self._ledger.get(link, key_id)

    @property
    def capacity_keys(self) -> int:
        return self._ledger.capacity

    @property
    def links(self) -> list[str]:
        return sorted(self._pools)

    def pool(self, link: str) -> KeyPool:
        """Raises UnknownLinkError."""
        if link not in self._pools:
            raise UnknownLinkError(
                f"There is no link {link}.",
                next_step=f"Use one of: {', '.join(self.links) or 'none is configured'}.",
            )
        return self._pools[link]

    def expire(self, lifetime_s: float) -> int:
        """Erase keys that nobody took in all their lifetime, at both ends of every link."""
        expired = 0
        for pool in self._pools.values():
            try:
                expired += pool.expire(lifetime_s)
            except ProblemError as error:  # it is tried again; her end alone offers nothing old
                log.warning("keys could not be expired", link=pool.link, why=error.detail)
        self._ledger.destroy_drained_epochs()
        return expired

    # --- keys under suspicion ---------------------------------------------------------------------

    def quarantined(self, link: str) -> list[Quarantine]:
        """What of this end's keys is in quarantine, by turn."""
        return self._ledger.quarantined(self.pool(link).link)

    def release_quarantined(self, link: str, turn: UUID) -> int:
        """An administrator found the turn to be sound."""
        keys = self.pool(link).release_quarantined(turn)
        self._bus.publish(KeysChanged(link))
        return keys

    def burn_quarantined(self, link: str, turn: UUID) -> int:
        """An administrator gave the turn up."""
        return self.pool(link).burn_quarantined(turn)

    # --- for turns of Alice (qkd_scheduler.ports.Keys) ------------------------------------------

    def serve_waiting(self, link: str, turn_id: UUID) -> int:
        served = 0
        while True:
            with self._lock:
                waiting = list(self._on_demand.get(link, []))
            if not waiting:
                return served
            ids = self.pool(link).extract(turn_id, 1)
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

    def drain(self, link: str, turn_id: UUID, *, at_most: int) -> int:
        served = self.serve_waiting(link, turn_id)
        pool = self.pool(link)
        room = min(at_most, pool.room_left())
        gained = len(pool.extract(turn_id, room)) if room else 0
        if gained:
            self._bus.publish(KeysChanged(link))
        return served + gained

    def quarantine(self, link: str, turn_id: UUID, reason: str) -> int:
        keys = self.pool(link).quarantine(turn_id, reason)
        log.warning("keys quarantined", link=link, turn=str(turn_id), keys=keys, why=reason)
        return keys

    def settle(self, link: str) -> None:
        """Discard at both ends what an interrupted extraction left; no unit is asked for that."""
        given_up = self.pool(link).settle()
        if given_up:
            log.warning("half extracted keys discarded at both ends", link=link, keys=given_up)
