"""Keys from another KME, by ETSI GS QKD 014: one end is a master SAE there, the other its slave.

So a pair of data centres with a commercial QKD link that speaks 014 fills its stores from it. The
id that the KME gave a key is the vendor's id here: 16 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from key_management.errors import KeySourceError
from key_management.etsi014.client import Etsi014Client, ReceivedKey, open_etsi014
from key_management.etsi014.errors import Etsi014Error, KmeRefusedError, KmeUnavailableError
from key_management.sources.port import VendorKey
from trust import Credentials

BLOCK_BIT = 256
_AT_ONCE = 64


class Etsi014Source:
    """This end's SAE at its KME; `peer_sae` is the other end's at the other KME."""

    def __init__(
        self, client: Etsi014Client, peer_sae: str, *, emulated: bool, at_once: int = _AT_ONCE
    ) -> None:
        self._client = client
        self._peer_sae = peer_sae
        self._at_once = at_once
        self.emulated = emulated

    def new_keys(self, limit: int) -> list[VendorKey]:
        taken: list[VendorKey] = []
        try:
            while len(taken) < limit:
                number = min(limit - len(taken), self._at_once)
                received = self._client.enc_keys(self._peer_sae, number=number, size_bit=BLOCK_BIT)
                taken += self._vendor_keys(received)
        except Etsi014Error as error:
            # What came before is good; it will not be delivered again.
            if not taken and not (isinstance(error, KmeUnavailableError) and self._is_empty()):
                raise _failed(error) from error
        return taken

    def keys_by_ids(self, vendor_key_ids: Sequence[bytes]) -> list[VendorKey]:
        found: list[VendorKey] = []
        for start in range(0, len(vendor_key_ids), self._at_once):
            ids = [UUID(bytes=one) for one in vendor_key_ids[start : start + self._at_once]]
            found += self._fetch(ids)
        return found

    def close(self) -> None:
        self._client.close()

    def _fetch(self, ids: list[UUID]) -> list[VendorKey]:
        """All at once; where one of them is refused, one by one, since one refuses them all."""
        try:
            return self._vendor_keys(self._client.dec_keys(self._peer_sae, ids))
        except KmeRefusedError:
            if len(ids) == 1:
                return []
            return [key for key_id in ids for key in self._fetch([key_id])]
        except Etsi014Error as error:
            raise _failed(error) from error

    def _is_empty(self) -> bool:
        """Whether the KME had no keys left, rather than a fault; both are a 503."""
        try:
            return self._client.status(self._peer_sae).stored_key_count == 0
        except Etsi014Error as error:
            raise _failed(error) from error

    def _vendor_keys(self, received: list[ReceivedKey]) -> list[VendorKey]:
        if any(len(key.key) * 8 != BLOCK_BIT for key in received):
            for key in received:
                key.wipe()
            raise Etsi014Error(
                f"The KME delivered keys of another size than {BLOCK_BIT} bits.",
                next_step="Have it deliver keys of 256 bits.",
            )
        if any(key.emulated for key in received):
            self.emulated = True
        return [VendorKey(key.key_id.bytes, key.key) for key in received]


def _failed(error: Etsi014Error) -> KeySourceError:
    return KeySourceError(error.detail, next_step=error.next_step)


def open_source(options: Mapping[str, Any]) -> Etsi014Source:
    """The driver `etsi014`. Options: url, peer_sae, certificate, key, authority (paths), kme (its
    name, where our own authority named it), at_once (64), timeout_s (20), emulated (False)."""
    credentials = Credentials(
        Path(options["certificate"]), Path(options["key"]), Path(options["authority"])
    )
    client = open_etsi014(
        options["url"],
        credentials,
        kme=options.get("kme"),
        timeout_s=float(options.get("timeout_s", 20.0)),
    )
    return Etsi014Source(
        client,
        options["peer_sae"],
        emulated=bool(options.get("emulated", False)),
        at_once=int(options.get("at_once", _AT_ONCE)),
    )
