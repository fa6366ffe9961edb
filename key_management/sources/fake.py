"""Two ends of a key server in memory, for tests: what Alice is given, Bob can ask for by id."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence

from key_management.errors import KeySourceError
from key_management.sources.port import VENDOR_KEY_ID_BYTES, VendorKey


class FakeKeySource:
    """One end; make the other with `peer()`. `produce` makes keys at both."""

    emulated = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[bytes, bytes] = {}
        self._undelivered: list[bytes] = []
        self._other: FakeKeySource | None = None
        self.silent = False

    def peer(self) -> FakeKeySource:
        other = FakeKeySource()
        self._other, other._other = other, self
        return other

    def produce(self, count: int, *, missing_at_peer: int = 0, different_at_peer: int = 0) -> None:
        """Make `count` keys; the first ones are missing or different at the other end."""
        for index in range(count):
            vendor_key_id, key = secrets.token_bytes(VENDOR_KEY_ID_BYTES), secrets.token_bytes(32)
            with self._lock:
                self._keys[vendor_key_id] = key
                self._undelivered.append(vendor_key_id)
            if self._other is not None and index >= missing_at_peer:
                different = index < missing_at_peer + different_at_peer
                self._other._keys[vendor_key_id] = secrets.token_bytes(32) if different else key

    def new_keys(self, limit: int) -> list[VendorKey]:
        self._check()
        with self._lock:
            ids, self._undelivered = self._undelivered[:limit], self._undelivered[limit:]
        return self.keys_by_ids(ids)

    def keys_by_ids(self, vendor_key_ids: Sequence[bytes]) -> list[VendorKey]:
        self._check()
        return [
            VendorKey(vendor_key_id, bytearray(self._keys[vendor_key_id]))
            for vendor_key_id in vendor_key_ids
            if vendor_key_id in self._keys
        ]

    def close(self) -> None:
        """The connection ends; the key server goes on (`silent` is what stops it)."""

    def _check(self) -> None:
        if self.silent:
            raise KeySourceError("the key server is silent", next_step="start it")
