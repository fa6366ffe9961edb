"""What the key store needs of a key server: that beside a QKD unit, or a vendor's KME."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

VENDOR_KEY_ID_BYTES = 8
"""Of IDQ3P; ETSI 014 has 16."""


@dataclass
class VendorKey:
    """A key under the id that the unit's vendor gave it (opaque bytes); never shown."""

    vendor_key_id: bytes
    key: bytearray = field(repr=False)

    def wipe(self) -> None:
        self.key[:] = bytes(len(self.key))


class KeySource(Protocol):
    """One end's key server."""

    @property
    def emulated(self) -> bool:
        """True if no photon was involved; the keys carry this mark for ever."""
        ...

    def new_keys(self, limit: int) -> list[VendorKey]:
        """Up to `limit` keys that were not delivered before; none if there are none now.

        Raises KeySourceError.
        """
        ...

    def keys_by_ids(self, vendor_key_ids: Sequence[bytes]) -> list[VendorKey]:
        """The keys under these ids, without those that are not known. Raises KeySourceError."""
        ...

    def close(self) -> None: ...
