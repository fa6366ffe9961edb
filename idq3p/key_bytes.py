"""Key octets in one place that does not print and can be wiped."""

from __future__ import annotations

import hmac
from types import TracebackType
from typing import Self


class KeyBytes:
    """Octets of a key. Prints as redacted, compares in constant time, can be wiped.

    Python cannot guarantee erasure: the interpreter or the kernel may keep copies. `wipe` removes
    the one copy that this object owns. Not hashable and not picklable, so that a key does not
    slip into a cache, a set or a message.
    """

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes | bytearray | memoryview) -> None:
        self._octets = bytearray(octets)

    def reveal(self) -> memoryview:
        """A read-only view of the octets; ask for it where they are used, keep no copy."""
        return memoryview(self._octets).toreadonly()

    def wipe(self) -> None:
        """Overwrite the octets with zero. May be called again."""
        # Of the same length, so it overwrites in place, also under open views.
        self._octets[:] = bytes(len(self._octets))

    @property
    def is_zero(self) -> bool:
        """True when every octet is zero: wiped, or never a key."""
        return not any(self._octets)

    def __len__(self) -> int:
        return len(self._octets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyBytes):
            return NotImplemented
        return hmac.compare_digest(self._octets, other._octets)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<KeyBytes {len(self._octets)} octets, redacted>"

    def __reduce__(self) -> str:
        raise TypeError("key octets are not pickled")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wipe()
