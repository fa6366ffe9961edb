"""What a KME does for applications and for the KME at the other end of a link.

All keys of a link are allocated at one end, so that both ends never promise the same block to two
keys. An allocation is journaled before a block is touched, both ends set the same blocks aside
before anybody gets a byte, and what a crash or a silent peer leaves in between is burned at both.
A delivery is marked before its bytes are read: an answer that is lost loses its keys.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4, uuid5

import structlog

from key_management.errors import KeyManagementError
from key_management.kme.contract import AllocationWanted
from key_management.kme.deliveries import Allocation, Batch, Composition, Deliveries, Delivery
from key_management.kme.directory import Directory, KmeLink, Route
from key_management.kme.errors import (
    BatchEndedError,
    EmulatedKeysRefusedError,
    KeyRequestError,
    PeerNotReachedError,
    PeerRefusedError,
    PeerSilentError,
    QuotaError,
    UnknownSaeError,
)
from key_management.kme.peer import PeerKme
from key_management.kme.settings import LimitTable
from key_management.kme.tables import BatchState, DeliveryState, Receiver
from key_management.ledger import KeyLedger, Message
from key_management.states import KeyState
from problem_details import ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)

BLOCK_BIT = 256
_OWNERS = UUID("5e0c2f2e-6f0b-4d5a-9a44-0d9f0f3a7c11")
"""Namespace of the owners of allocations (RFC 9562, version 5)."""
_NOTHING_TOUCHED = frozenset({403, 404, 422})
"""What the other end answers before it touches a block."""


@dataclass
class DeliveredKey:
    """A key for an application; the caller wipes it."""

    key_id: UUID
    key: bytearray = field(repr=False)
    emulated: bool

    def wipe(self) -> None:
        self.key[:] = bytes(len(self.key))


@dataclass(frozen=True)
class Supply:
    """What a pair of SAEs may expect now. Counts are of keys of the default size."""

    target_kme: str
    stored_keys: int
    capacity_keys: int
    emulated: bool


class Kme:
    """One key management entity. Thread-safe."""

    def __init__(
        self,
        directory: Directory,
        ledger: KeyLedger,
        deliveries: Deliveries,
        peers: Mapping[str, PeerKme],
        limits: LimitTable,
        clock: Clock,
        *,
        accept_emulated_keys: bool,
    ) -> None:
        self.directory = directory
        self.limits = limits
        self._ledger = ledger
        self._deliveries = deliveries
        self._peers = peers
        self._clock = clock
        self._accept_emulated_keys = accept_emulated_keys

    # --- for applications -------------------------------------------------------------------------

    def supply(self, master: str, slave: str) -> Supply:
        """How many keys `master` could have for `slave`. Raises UnknownSaeError."""
        route = self.directory.route(master, [slave])
        per_key = _blocks_per_key(self.limits.key_size_bit)
        free = sum(
            max(0, self._available(link.name) - self.limits.floor_keys) // per_key
            for link in route.links
        )
        return Supply(
            target_kme=route.peer,
            stored_keys=free,
            capacity_keys=len(route.links) * (self._ledger.capacity // per_key),
            emulated=any(self._ledger.holds_emulated(link.name) for link in route.links),
        )

    def new_keys(
        self,
        master: str,
        slave: str,
        *,
        number: int,
        size_bit: int | None,
        additional_slaves: Sequence[str] = (),
    ) -> list[DeliveredKey]:
        """New keys for `master`; the slaves fetch the same ones by their ids, each once.

        Raises KeyRequestError, UnknownSaeError, QuotaError, NoKeyAvailableError, PeerError.
        """
        size_bit = self.limits.key_size_bit if size_bit is None else size_bit
        self._check(number, size_bit, len(additional_slaves))
        route = self.directory.route(master, [slave, *additional_slaves])
        self._check_quota(master, slave, number)
        link = max(route.links, key=lambda one: self._available(one.name))
        wanted = AllocationWanted(
            batch_id=uuid4(),
            master_sae=master,
            slave_saes=list(route.remote_saes),
            size_bit=size_bit,
            number=number,
        )
        self._open(link, wanted)
        if link.allocates:
            allocation = self._lead(link, route, wanted)
        else:
            allocation = self._follow(link, wanted)
        ids = [key.key_id for key in allocation.keys]
        keys = self._hand_out(ids, Receiver.MASTER, master, master)
        log.info(
            "keys delivered to the master",
            link=link.name,
            batch=str(wanted.batch_id),
            master=master,
            slaves=list(route.remote_saes),
            keys=len(keys),
            size_bit=size_bit,
        )
        return keys

    def keys_by_ids(self, slave: str, master: str, key_ids: Sequence[UUID]) -> list[DeliveredKey]:
        """Keys that `master` had made for `slave`, each once.

        Raises NotNamedError, KeysNotFoundError.
        """
        self._check(len(key_ids), self.limits.key_size_bit, 0)
        keys = self._hand_out(list(dict.fromkeys(key_ids)), Receiver.SLAVE, slave, master)
        log.info("keys delivered to a slave", master=master, slave=slave, keys=len(keys))
        return keys

    # --- for the KME at the other end -------------------------------------------------------------

    def accept(self, link: KmeLink, allocation: Allocation) -> bool:
        """Set aside the blocks that the allocating end chose; answers whether one is emulated."""
        self._check_attached(allocation.slave_saes)
        if link.allocates:
            raise BatchEndedError(
                f"Keys of {link.name} are allocated here, not at the other end.",
                next_step="Give the link role `alice` at one end and `bob` at the other.",
            )
        self._check_emulated(link.name, allocation.emulated)
        known = self._deliveries.batch(allocation.batch_id)
        if known is not None and known.state is BatchState.AGREED:
            if known.digest != allocation.digest:
                raise BatchEndedError(
                    f"Allocation {allocation.batch_id} was made with other content.",
                    next_step="Begin a new allocation.",
                )
            return known.emulated
        self._deliveries.open(
            allocation.batch_id,
            link.name,
            allocation.master_sae,
            allocation.slave_saes[0],
            size_bit=allocation.size_bit,
            count=len(allocation.keys),
        )
        emulated = self._join(allocation, [(Receiver.SLAVE, sae) for sae in allocation.slave_saes])
        log.info(
            "allocation accepted",
            link=link.name,
            batch=str(allocation.batch_id),
            keys=len(allocation.keys),
            blocks=len(allocation.blocks),
        )
        return emulated

    def allocate(self, link: KmeLink, wanted: AllocationWanted) -> Allocation:
        """Choose blocks for a master SAE at the other end."""
        self._check(wanted.number, wanted.size_bit, len(wanted.slave_saes) - 1)
        self._check_attached(wanted.slave_saes)
        if not link.allocates or self._deliveries.batch(wanted.batch_id) is not None:
            raise BatchEndedError(
                f"Allocation {wanted.batch_id} cannot be made at this end.",
                next_step="Ask for keys again; give the link role `alice` at one end alone.",
            )
        self._open(link, wanted)
        try:
            allocation = self._set_aside(link, wanted)
        except ProblemError as error:
            self._return(link.name, wanted.batch_id, error.detail)
            raise
        try:
            self._bind(allocation, [(Receiver.SLAVE, sae) for sae in wanted.slave_saes])
        except ProblemError as error:
            self._burn(link.name, wanted.batch_id, allocation.blocks, error.detail, peer_told=True)
            raise
        log.info(
            "allocation made for the other end",
            link=link.name,
            batch=str(wanted.batch_id),
            keys=len(allocation.keys),
            blocks=len(allocation.blocks),
        )
        return allocation

    def withdraw(
        self, link: KmeLink, batch_id: UUID, blocks: Collection[UUID], reason: str
    ) -> list[UUID]:
        """The other end gave an allocation up; returns the blocks that it had here."""
        known = self._deliveries.batch(batch_id)
        if known is not None and known.link != link.name:
            raise BatchEndedError(
                f"Allocation {batch_id} is not of {link.name}.",
                next_step="Withdraw it on its own link.",
            )
        self._burn(link.name, batch_id, blocks, reason, peer_told=True)
        return self._owned(link.name, batch_id)

    # --- what is left over ------------------------------------------------------------------------

    def settle(self, *, starting: bool = False) -> None:
        """End what was interrupted or not fetched in time. `starting`: nothing can be under way."""
        now = self._clock.now()
        if starting:
            self._notice_a_restored_backup()
        # Also what was opened in this very microsecond is an earlier run's, at the start.
        open_before = now + timedelta(seconds=1 if starting else -self.limits.allocation_timeout_s)
        for batch in self._deliveries.unsettled(open_before):
            self._settle(batch)
        overdue = now - timedelta(seconds=self.limits.delivery_lifetime_s)
        expired = self._deliveries.expire(overdue)
        if expired:
            log.warning("keys were not fetched in time", keys=expired)
        for delivery, state in self._deliveries.not_erased():
            self._erase_left_over(delivery, state)

    def _notice_a_restored_backup(self) -> None:
        """What waits may have been delivered after the backup was made, so it never will be.

        A block that was used after the backup is no danger: the other end has its tombstone, and
        nothing is delivered from blocks that the other end does not set aside.
        """
        forgotten = self._deliveries.went_back()
        if not forgotten:
            return
        ended = self._deliveries.expire(self._clock.now() + timedelta(seconds=1))
        log.error(
            "the database is an old backup: no key that waits in it is delivered",
            forgotten_deliveries=forgotten,
            keys_ended=ended,
        )

    # --- allocation -------------------------------------------------------------------------------

    def _open(self, link: KmeLink, wanted: AllocationWanted) -> None:
        self._deliveries.open(
            wanted.batch_id,
            link.name,
            wanted.master_sae,
            wanted.slave_saes[0],
            size_bit=wanted.size_bit,
            count=wanted.number,
        )

    def _lead(self, link: KmeLink, route: Route, wanted: AllocationWanted) -> Allocation:
        """This end chooses; the other end must agree before anything counts."""
        batch_id = wanted.batch_id
        try:
            allocation = self._set_aside(link, wanted)
        except KeyManagementError as error:
            self._return(link.name, batch_id, error.detail)
            raise
        try:
            emulated = self._peers[link.peer].accept(allocation)
        except PeerNotReachedError as error:
            self._return(link.name, batch_id, error.detail)
            raise
        except PeerRefusedError as error:
            if error.problem.status in _NOTHING_TOUCHED:
                self._return(link.name, batch_id, error.detail)
            else:
                self._abandon(link, batch_id, allocation.blocks, error.detail)
            raise
        except PeerSilentError as error:
            self._abandon(link, batch_id, allocation.blocks, error.detail)
            raise
        allocation = _marked(allocation, emulated)
        try:
            self._bind(allocation, [(Receiver.MASTER, route.local_sae)])
        except ProblemError as error:
            self._abandon(link, batch_id, allocation.blocks, error.detail)
            raise
        return allocation

    def _follow(self, link: KmeLink, wanted: AllocationWanted) -> Allocation:
        """The other end chooses; this one sets the same blocks aside."""
        batch_id = wanted.batch_id
        try:
            allocation = self._peers[link.peer].allocate(link.name, wanted)
        except (PeerNotReachedError, PeerRefusedError) as error:
            self._deliveries.give_up(batch_id, link.name, error.detail, peer_told=True)
            raise
        except PeerSilentError as error:
            self._abandon(link, batch_id, [], error.detail)
            raise
        try:
            self._check_answer(wanted, allocation)
            emulated = self._join(allocation, [(Receiver.MASTER, wanted.master_sae)])
        except ProblemError as error:
            self._abandon(link, batch_id, allocation.blocks, error.detail)
            raise
        return _marked(allocation, emulated)

    def _set_aside(self, link: KmeLink, wanted: AllocationWanted) -> Allocation:
        per_key = _blocks_per_key(wanted.size_bit)
        records = self._ledger.reserve_many(
            link.name,
            owner_of(wanted.batch_id),
            wanted.number * per_key,
            floor=self.limits.floor_keys,
        )
        emulated = any(record.emulated for record in records)
        self._check_emulated(link.name, emulated)
        blocks = [record.key_id for record in records]
        return Allocation(
            wanted.batch_id,
            link.name,
            wanted.master_sae,
            tuple(wanted.slave_saes),
            wanted.size_bit,
            tuple(
                Composition(uuid4(), tuple(blocks[start : start + per_key]))
                for start in range(0, len(blocks), per_key)
            ),
            emulated,
        )

    def _join(self, allocation: Allocation, receivers: Sequence[tuple[Receiver, str]]) -> bool:
        """Set aside what the allocating end chose, or burn it: then the two ends do not agree."""
        try:
            records = self._ledger.reserve_by_ids(
                allocation.link, allocation.blocks, owner_of(allocation.batch_id)
            )
            emulated = any(record.emulated for record in records) or allocation.emulated
            self._check_emulated(allocation.link, emulated)
            self._bind(_marked(allocation, emulated), receivers)
        except ProblemError as error:
            self._burn(
                allocation.link,
                allocation.batch_id,
                allocation.blocks,
                error.detail,
                peer_told=True,
            )
            raise
        return emulated

    def _bind(self, allocation: Allocation, receivers: Sequence[tuple[Receiver, str]]) -> None:
        """From here on the blocks serve these keys or nothing."""
        self._deliveries.compose(allocation, receivers)
        self._ledger.arm_all(
            allocation.link,
            allocation.blocks,
            _message(allocation.batch_id, allocation.digest, allocation.slave_saes[0]),
        )
        self._deliveries.agree(allocation.batch_id)

    def _return(self, link: str, batch_id: UUID, reason: str) -> None:
        """Nobody else heard of this batch: its blocks go back to the pool."""
        self._ledger.release(owner_of(batch_id), reason)
        self._deliveries.give_up(batch_id, link, reason, peer_told=True)

    def _burn(
        self,
        link: str,
        batch_id: UUID,
        blocks: Collection[UUID],
        reason: str,
        *,
        peer_told: bool,
    ) -> None:
        delivered = set(self._deliveries.blocks_of(batch_id, DeliveryState.DELIVERED))
        meant = {*blocks, *self._owned(link, batch_id)}
        # The ledger first: a crash in between leaves the batch open, and it is settled again.
        self._ledger.burn_for(link, meant - delivered, owner_of(batch_id), reason)
        self._deliveries.give_up(batch_id, link, reason, peer_told=peer_told)
        self._ledger.destroy_drained_epochs()

    def _abandon(
        self, link: KmeLink, batch_id: UUID, blocks: Collection[UUID], reason: str
    ) -> None:
        """The ends may disagree on this batch: burn it here, and at the other end when it hears."""
        log.warning("allocation given up", link=link.name, batch=str(batch_id), why=reason)
        self._burn(link.name, batch_id, blocks, reason, peer_told=False)
        self._tell(link, batch_id, blocks, reason)

    def _tell(self, link: KmeLink, batch_id: UUID, blocks: Collection[UUID], reason: str) -> None:
        try:
            theirs = self._peers[link.peer].withdraw(link.name, batch_id, blocks, reason)
        except ProblemError as error:
            log.warning("the other end was not told", batch=str(batch_id), why=error.detail)
            return
        # It may have chosen blocks that this end never heard of.
        self._ledger.burn_for(link.name, theirs, owner_of(batch_id), reason)
        self._deliveries.told(batch_id)

    def _owned(self, link: str, batch_id: UUID) -> list[UUID]:
        """All blocks that this end ever set aside for a batch and did not give back."""
        return [record.key_id for record in self._ledger.owned_by(link, owner_of(batch_id))]

    # --- delivery ---------------------------------------------------------------------------------

    def _hand_out(
        self, key_ids: Sequence[UUID], role: Receiver, sae: str, master: str
    ) -> list[DeliveredKey]:
        taken = self._deliveries.take(key_ids, role=role, sae=sae, master=master)
        keys: list[DeliveredKey] = []
        whole = False
        try:
            keys.extend(self._read(delivery) for delivery in taken)
            self._erase([delivery for delivery in taken if delivery.last])
            whole = True
        finally:
            if not whole:
                for key in keys:
                    key.wipe()
        return keys

    def _read(self, delivery: Delivery) -> DeliveredKey:
        batch = delivery.batch
        size_bytes = batch.size_bit // 8

        def cut(joined: bytearray) -> bytearray:
            return joined[:size_bytes]

        assert batch.digest is not None
        key = self._ledger.with_armed_keys(
            batch.link,
            delivery.blocks,
            _message(batch.batch_id, batch.digest, batch.slave_sae),
            cut,
        )
        return DeliveredKey(delivery.key_id, key, batch.emulated)

    def _erase(self, done: Sequence[Delivery]) -> None:
        by_link: dict[str, list[UUID]] = {}
        for delivery in done:
            by_link.setdefault(delivery.batch.link, []).extend(delivery.blocks)
        for link, blocks in by_link.items():
            self._ledger.consume_all(link, blocks)
        if done:
            self._deliveries.erased([delivery.key_id for delivery in done])
            self._ledger.destroy_drained_epochs()

    def _erase_left_over(self, delivery: Delivery, state: DeliveryState) -> None:
        link = delivery.batch.link
        if state is DeliveryState.DELIVERED:
            self._ledger.consume_all(link, delivery.blocks)
        else:
            why = "not fetched in time" if state is DeliveryState.EXPIRED else "given up"
            owner = owner_of(delivery.batch.batch_id)
            self._ledger.burn_for(link, delivery.blocks, owner, why)
        self._deliveries.erased([delivery.key_id])
        self._ledger.destroy_drained_epochs()

    def _settle(self, batch: Batch) -> None:
        link = next((one for one in self.directory.links if one.name == batch.link), None)
        if link is None:
            log.warning("a batch belongs to a link that is gone", link=batch.link)
            return
        blocks = self._owned(batch.link, batch.batch_id)
        if batch.state is BatchState.OPEN:
            self._abandon(link, batch.batch_id, blocks, "an allocation was interrupted")
        else:
            self._tell(link, batch.batch_id, blocks, "an allocation was given up")

    # --- checks -----------------------------------------------------------------------------------

    def _available(self, link: str) -> int:
        return self._ledger.counts(link)[KeyState.AVAILABLE]

    def _check(self, number: int, size_bit: int, additional: int) -> None:
        limits = self.limits
        if size_bit % 8:
            raise KeyRequestError(
                "size shall be a multiple of 8",
                next_step="Ask for whole bytes.",
                faults={"size": f"{size_bit} is no multiple of 8"},
            )
        if not limits.min_key_size_bit <= size_bit <= limits.max_key_size_bit:
            raise KeyRequestError(
                "size is not one that this KME delivers",
                next_step="See min_key_size and max_key_size in the status.",
                faults={
                    "size": f"{size_bit} is not between {limits.min_key_size_bit} "
                    f"and {limits.max_key_size_bit}"
                },
            )
        if not 1 <= number <= limits.max_key_per_request:
            raise KeyRequestError(
                "number is not one that this KME delivers at once",
                next_step="See max_key_per_request in the status.",
                faults={"number": f"{number} is not between 1 and {limits.max_key_per_request}"},
            )
        if additional > limits.max_sae_id_count:
            raise KeyRequestError(
                "there are more additional_slave_SAE_IDs than this KME serves at once",
                next_step="See max_SAE_ID_count in the status.",
                faults={
                    "additional_slave_SAE_IDs": f"{additional} are more than "
                    f"{limits.max_sae_id_count}"
                },
            )

    def _check_quota(self, master: str, slave: str, number: int) -> None:
        quota = self.limits.max_keys_per_minute
        if quota is None:
            return
        taken = self._deliveries.asked_since(
            master, slave, self._clock.now() - timedelta(seconds=60)
        )
        if taken + number > quota:
            raise QuotaError(
                f"SAE {master} took {taken} of its {quota} keys of this minute for {slave}.",
                next_step="Ask again in a minute, for fewer keys.",
            )

    def _check_attached(self, saes: Sequence[str]) -> None:
        for sae in saes:
            if not self.directory.attached(sae):
                raise UnknownSaeError(
                    f"SAE {sae} is not attached to KME {self.directory.kme}",
                    next_step="Name it in `saes` there, or in `remote_saes` of the right KME.",
                )

    def _check_emulated(self, link: str, emulated: bool) -> None:
        if emulated and not self._accept_emulated_keys:
            raise EmulatedKeysRefusedError(
                f"The store of {link} holds keys that no photon made.",
                next_step="Set accept_emulated_keys in a laboratory; elsewhere, empty the store.",
                link=link,
            )

    @staticmethod
    def _check_answer(wanted: AllocationWanted, allocation: Allocation) -> None:
        per_key = _blocks_per_key(wanted.size_bit)
        blocks = allocation.blocks
        same = (
            allocation.batch_id == wanted.batch_id
            and allocation.master_sae == wanted.master_sae
            and list(allocation.slave_saes) == wanted.slave_saes
            and allocation.size_bit == wanted.size_bit
            and len(allocation.keys) == wanted.number
            and all(len(key.blocks) == per_key for key in allocation.keys)
            and len(set(blocks)) == len(blocks)
        )
        if not same:
            raise BatchEndedError(
                "The other end allocated something else than it was asked for.",
                next_step="Run the same version of qnfv at both ends.",
            )


def _blocks_per_key(size_bit: int) -> int:
    return -(-size_bit // BLOCK_BIT)


def owner_of(batch_id: UUID) -> UUID:
    """Who owns an allocation's blocks in the ledger.

    A peer chooses the batch's id. It must never meet the id of an operation or of a relay route,
    which own keys in the same ledger.
    """
    return uuid5(_OWNERS, batch_id.hex)


def _message(batch_id: UUID, digest: bytes, slave: str) -> Message:
    """What the blocks of an allocation protect: its keys, and nothing else ever."""
    return Message(batch_id, digest, slave)


def _marked(allocation: Allocation, emulated: bool) -> Allocation:
    """The same allocation, emulated if either end says so."""
    return Allocation(
        allocation.batch_id,
        allocation.link,
        allocation.master_sae,
        allocation.slave_saes,
        allocation.size_bit,
        allocation.keys,
        allocation.emulated or emulated,
    )
