"""Makes both ends of a link hold the same keys under the same ids.

Alice's end takes new keys from her unit and tells Bob's end the vendor's ids; Bob's end fetches the
same ones from his unit. Before any of them counts, one key of the batch is sacrificed to compare
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

from key_management.errors import (
    KeyAgreementError,
    NoKeyAvailableError,
    UnknownKeyError,
)
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


class PeerKeyStore(Protocol):
    """The key store at Bob's end, as Alice's end reaches it."""

    def extract(self, link: str, epoch: UUID, names: list[KeyName], sacrificed: UUID) -> Held:
        """Fetch these keys from Bob's unit (those not held already) and answer what is held."""
        ...

    def confirm(self, link: str, epoch: UUID, agreed: Collection[UUID]) -> None:
        """Keep `agreed`, burn what else this turn left unconfirmed."""
        ...

    def discard(self, link: str, epoch: UUID) -> None:
        """Burn every key of this turn that no operation holds."""
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


class BobEnd:
    """Bob's end of an extraction: a `PeerKeyStore` over his ledger and his unit."""

    def __init__(self, ledger: KeyLedger, source: KeySource) -> None:
        self._ledger = ledger
        self._source = source

    def extract(self, link: str, epoch: UUID, names: list[KeyName], sacrificed: UUID) -> Held:
        present = {key_id for key_id, _ in self._ledger.pending(link).get(epoch, [])}
        fetched: list[ExtractedKey] = []
        for name in names:
            if name.key_id in present:
                continue
            try:
                vendor = self._source.key_by_id(name.vendor_key_id)
            except UnknownKeyError:
                continue
            fetched.append(ExtractedKey(name.key_id, name.vendor_key_id, vendor.key))
        if fetched:
            self._ledger.add_pending(link, epoch, fetched, emulated=self._source.emulated)

        def held(keys: dict[UUID, bytearray]) -> Held:
            return Held(frozenset(keys), agreement_tag(keys, sacrificed))

        return self._ledger.with_pending_keys(link, epoch, [name.key_id for name in names], held)

    def confirm(self, link: str, epoch: UUID, agreed: Collection[UUID]) -> None:
        self._ledger.confirm(link, epoch, agreed)

    def discard(self, link: str, epoch: UUID) -> None:
        self._ledger.discard(link, epoch)


class AliceEnd:
    """Alice's end of an extraction."""

    def __init__(self, ledger: KeyLedger, source: KeySource, peer: PeerKeyStore) -> None:
        self._ledger = ledger
        self._source = source
        self._peer = peer

    def extract(
        self,
        link: str,
        epoch: UUID,
        *,
        limit: int,
        go_on: Callable[[], bool] = lambda: True,
    ) -> list[UUID]:
        """Take up to `limit` keys of this turn into both ledgers; returns those that both hold.

        One further key of each batch is sacrificed for the comparison. `epoch` is new for every
        call. Raises KeyAgreementError when the two ends hold different keys; that batch is burned
        at both.
        """
        available: list[UUID] = []
        while len(available) < limit and go_on():
            batch = self._take(link, epoch, min(BATCH_KEYS, limit - len(available) + 1))
            if len(batch) < 2:  # nothing left beside a key to sacrifice
                self._settle(link, epoch, [])
                break
            available += self._agree(link, epoch, batch)
            epoch = uuid4()  # a batch is confirmed as a whole, under a wrapping key of its own
        return available

    def _take(self, link: str, epoch: UUID, count: int) -> list[KeyName]:
        taken: list[ExtractedKey] = []
        while len(taken) < count:
            try:
                vendor = self._source.new_key()
            except NoKeyAvailableError:
                break
            taken.append(ExtractedKey(uuid4(), vendor.vendor_key_id, vendor.key))
        names = {key.key_id: KeyName(key.key_id, key.vendor_key_id) for key in taken}
        entered = self._ledger.add_pending(link, epoch, taken, emulated=self._source.emulated)
        return [names[key_id] for key_id in entered]

    def _agree(self, link: str, epoch: UUID, batch: list[KeyName]) -> list[UUID]:
        sacrificed = batch[0].key_id
        held = self._peer.extract(link, epoch, batch, sacrificed)
        both = held.key_ids & {name.key_id for name in batch}

        def expected(keys: dict[UUID, bytearray]) -> bytes | None:
            return agreement_tag(keys, sacrificed)

        tag = self._ledger.with_pending_keys(link, epoch, both, expected)
        agrees = held.tag is not None and tag is not None and hmac.compare_digest(held.tag, tag)
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
        self._peer.confirm(link, epoch, kept)
        self._ledger.confirm(link, epoch, kept)


def discard_remains(ledger: KeyLedger, peer: PeerKeyStore, link: str) -> int:
    """Discard at both ends what an interrupted extraction left unconfirmed at Alice's.

    Bob's end may have confirmed such a batch already; nothing of it was ever offered at Alice's,
    so it is burned at his end too. Returns how many keys were given up.
    """
    given_up = 0
    for epoch, names in ledger.pending(link).items():
        peer.discard(link, epoch)
        ledger.discard(link, epoch)
        given_up += len(names)
    return given_up
