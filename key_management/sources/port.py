"""What the key store needs of a key server beside a QKD unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

VENDOR_KEY_ID_BYTES = 8


@dataclass
class VendorKey:
    """A key under the id that the unit's vendor gave it (8 opaque bytes); never shown."""

    vendor_key_id: bytes
    key: bytearray = field(repr=False)


class KeySource(Protocol):
    """One unit's key server."""

    @property
    def emulated(self) -> bool:
        """True if no photon was involved; the key carries this mark for ever."""
        ...

    def new_key(self) -> VendorKey:
        """A key that was not delivered before. Raises NoKeyAvailableError, KeySourceError."""
        ...

    def key_by_id(self, vendor_key_id: bytes) -> VendorKey:
        """The key under this id. Raises UnknownKeyError, KeySourceError."""
        ...

    def close(self) -> None: ...
