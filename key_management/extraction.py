"""Makes both ends of a link hold the same keys under the same ids.

Alice's end takes new keys from her unit, Bob's end is told the vendor's ids and fetches the same
ones from his unit. Before any of them counts, one key of the batch is sacrificed to compare
the others: Bob's end answers an HMAC-SHA256 under it over all ids and keys. A tag under one of the
compared keys themselves would leak a function of a key that is used later (key store rules, 14).
Both ends keep what is agreed and burn the rest; every step can be repeated after a crash.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

from key_management.errors import KeyAgreementError
from key_management.ledger import ExtractedKey, KeyLedger
from key_management.sources.port import KeySource

BATCH_KEYS = 512


@dataclass(frozen=True)
class KeyName:
    """The two names of one key: ours, which goes outward, and the vendor's."""

    key_id: UUID
    vendor_key_id: bytes


@dataclass(frozen=True)
class Held:
    """What Bob's end holds of a batch, and its tag under the sacrificed key (None without it)."""

    key_ids: frozenset[UUID]
    tag: bytes | None


class KeyStoreEnd(Protocol):
    """One end's key store, as those who look after a link reach it. All can be repeated."""

    def confirm(self, link: str, epoch: UUID, agreed: Collection[UUID]) -> None:
        """Keep `agreed`, burn what else this batch left unconfirmed."""
        ...

    def discard(self, link: str, epoch: UUID) -> None:
        """Burn every key of this batch that no operation holds."""
        ...

    def quarantine(self, link: str, turn: UUID, reason: str) -> int:
        """Give no key of this turn to anybody; returns how many that were."""
        ...

    def release_quarantined(self, link: str, turn: UUID) -> int: ...

    def burn_quarantined(self, link: str, turn: UUID) -> int: ...

    def expire(self, link: str, older_than_s: float) -> int:
        """Erase free keys older than this by this end's own clock."""
        ...


class PeerKeyStore(KeyStoreEnd, Protocol):
    """The key store at Bob's end, beside his unit."""

    def extract(
        self,
        link: str,
        epoch: UUID,
        names: list[KeyName],
        sacrificed: UUID,
        turn: UUID | None = None,
    ) -> Held:
        """Fetch these keys from Bob's unit (those not held already) and answer what is held."""
        ...


def agreement_tag(keys: Mapping[UUID, bytearray], sacrificed: UUID) -> bytes | None:
    """The tag of a batch under its sacrificed key, over the others in the order of their ids."""
    secret = keys.get(sacrificed)
    if secret is None:
        return None
    mac = hmac.new(secret, b"qnfv key agreement v1\0", hashlib.sha256)
    for key_id in sorted(keys):
        if key_id != sacrificed:
            mac.update(key_id.bytes)
            mac.update(keys[key_id])
    return mac.digest()


def held_of(
    ledger: KeyLedger, link: str, epoch: UUID, key_ids: Collection[UUID], sacrificed: UUID
) -> Held:
    """What this end holds of a batch, with its tag."""

    def held(keys: dict[UUID, bytearray]) -> Held:
        return Held(frozenset(keys), agreement_tag(keys, sacrificed))

    return ledger.with_pending_keys(link, epoch, key_ids, held)


def agrees_with(ledger: KeyLedger, link: str, epoch: UUID, sacrificed: UUID, held: Held) -> bool:
    """Whether this end has the same keys as the other one says to hold. In constant time."""
    tag = held_of(ledger, link, epoch, held.key_ids, sacrificed).tag
    return held.tag is not None and tag is not None and hmac.compare_digest(held.tag, tag)


class LocalEnd:
    """A `KeyStoreEnd` over the ledger of this process."""

    def __init__(self, ledger: KeyLedger) -> None:
        self._ledger = ledger

    def confirm(self, link: str, epoch: UUID, agreed: Collection[UUID]) -> None:
        self._ledger.confirm(link, epoch, agreed)

    def discard(self, link: str, epoch: UUID) -> None:
        self._ledger.discard(link, epoch)

    def quarantine(self, link: str, turn: UUID, reason: str) -> int:
        return self._ledger.quarantine(link, turn, reason)

    def release_quarantined(self, link: str, turn: UUID) -> int:
        return self._ledger.release_quarantined(link, turn)

    def burn_quarantined(self, link: str, turn: UUID) -> int:
        return self._ledger.burn_quarantined(link, turn)

    def expire(self, link: str, older_than_s: float) -> int:
        return self._ledger.expire_older(link, older_than_s)


class BobEnd(LocalEnd):
    """Bob's end of an extraction: a `PeerKeyStore` over his ledger and his unit."""

    def __init__(self, ledger: KeyLedger, source: KeySource) -> None:
        super().__init__(ledger)
        self._source = source

    def extract(
        self,
        link: str,
        epoch: UUID,
        names: list[KeyName],
        sacrificed: UUID,
        turn: UUID | None = None,
    ) -> Held:
        present = {key_id for key_id, _ in self._ledger.pending(link).get(epoch, [])}
        ours = {name.vendor_key_id: name.key_id for name in names if name.key_id not in present}
        fetched = [
            ExtractedKey(ours[vendor.vendor_key_id], vendor.vendor_key_id, vendor.key)
            for vendor in self._source.keys_by_ids(list(ours))
        ]
        if fetched:
            self._ledger.add_pending(
                link, epoch, fetched, emulated=self._source.emulated, turn=turn
            )
        return held_of(self._ledger, link, epoch, [name.key_id for name in names], sacrificed)


class AliceStore(KeyStoreEnd, Protocol):
    """Alice's end of a link's key store, wherever it stands: at the centre or in a trusted node."""

    def take(self, link: str, epoch: UUID, limit: int, turn: UUID | None) -> list[KeyName]:
        """Take up to `limit` new keys from Alice's unit into the store, as yet unconfirmed."""
        ...

    def agrees(self, link: str, epoch: UUID, sacrificed: UUID, held: Held) -> bool:
        """Whether Bob's end holds the same keys under the ids that it named."""
        ...

    def pending(self, link: str) -> dict[UUID, int]:
        """Batches left unconfirmed, and how many keys each has."""
        ...


class AliceEnd(LocalEnd):
    """An `AliceStore` over the ledger of this process and the unit beside it.

    `open_source` is called for each batch, since the key server lives and dies with the unit's
    program.
    """

    def __init__(self, ledger: KeyLedger, open_source: Callable[[], KeySource]) -> None:
        super().__init__(ledger)
        self._open_source = open_source

    def take(self, link: str, epoch: UUID, limit: int, turn: UUID | None) -> list[KeyName]:
        source = self._open_source()
        try:
            taken = [
                ExtractedKey(uuid4(), vendor.vendor_key_id, vendor.key)
                for vendor in source.new_keys(limit)
            ]
        finally:
            source.close()
        names = {key.key_id: KeyName(key.key_id, key.vendor_key_id) for key in taken}
        entered = self._ledger.add_pending(link, epoch, taken, emulated=source.emulated, turn=turn)
        return [names[key_id] for key_id in entered]

    def agrees(self, link: str, epoch: UUID, sacrificed: UUID, held: Held) -> bool:
        return agrees_with(self._ledger, link, epoch, sacrificed, held)

    def pending(self, link: str) -> dict[UUID, int]:
        return {epoch: len(names) for epoch, names in self._ledger.pending(link).items()}


class Extraction:
    """Makes both ends of one link hold the same keys; whoever runs it never sees one."""

    def __init__(self, alice: AliceStore, bob: PeerKeyStore) -> None:
        self._alice = alice
        self._bob = bob

    def extract(
        self,
        link: str,
        *,
        limit: int,
        turn: UUID | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> list[UUID]:
        """Take up to `limit` keys of this turn into both stores; returns those that both hold.

        One further key of each batch is sacrificed for the comparison. Raises KeyAgreementError
        when the two ends hold different keys; that batch is burned at both.
        """
        available: list[UUID] = []
        while len(available) < limit and go_on():
            # A batch is confirmed as a whole, under a wrapping key of its own.
            epoch = uuid4()
            wanted = min(BATCH_KEYS, limit - len(available) + 1)
            batch = self._alice.take(link, epoch, wanted, turn)
            if len(batch) < 2:  # nothing left beside a key to sacrifice
                self._settle(link, epoch, [])
                break
            available += self._agree(link, epoch, batch, turn)
        return available

    def _agree(self, link: str, epoch: UUID, batch: list[KeyName], turn: UUID | None) -> list[UUID]:
        sacrificed = batch[0].key_id
        held = self._bob.extract(link, epoch, batch, sacrificed, turn)
        both = held.key_ids & {name.key_id for name in batch}
        agrees = self._alice.agrees(link, epoch, sacrificed, Held(both, held.tag))
        kept = sorted(both - {sacrificed}) if agrees else []
        self._settle(link, epoch, kept)
        if both and not agrees and held.tag is not None:
            raise KeyAgreementError(
                f"The units of {link} delivered different keys under the same ids; "
                f"{len(batch)} keys were burned at both ends.",
                next_step="Check that both units belong to the same turn, then start a new one.",
                link=link,
            )
        return kept

    def _settle(self, link: str, epoch: UUID, kept: Collection[UUID]) -> None:
        # Bob first: what Alice's end offers to an operation, Bob's end must hold.
        self._bob.confirm(link, epoch, kept)
        self._alice.confirm(link, epoch, kept)


def discard_remains(alice: AliceStore, bob: PeerKeyStore, link: str) -> int:
    """Discard at both ends what an interrupted extraction left unconfirmed at Alice's.

    Bob's end may have confirmed such a batch already; nothing of it was ever offered at Alice's,
    so it is burned at his end too. Returns how many keys were given up.
    """
    given_up = 0
    for epoch, keys in alice.pending(link).items():
        bob.discard(link, epoch)
        alice.discard(link, epoch)
        given_up += keys
    return given_up
