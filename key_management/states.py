"""The life of a key, as one table."""

from __future__ import annotations

from enum import StrEnum


class KeyState(StrEnum):
    PENDING = "PENDING"
    AVAILABLE = "AVAILABLE"
    RESERVED = "RESERVED"
    ARMED = "ARMED"
    CONSUMED = "CONSUMED"
    BURNED = "BURNED"
    EXPIRED = "EXPIRED"
    QUARANTINED = "QUARANTINED"


MEANING: dict[KeyState, str] = {
    KeyState.PENDING: "extracted at this end; the other end has not confirmed that it holds it",
    KeyState.AVAILABLE: "held by both ends, promised to nobody",
    KeyState.RESERVED: "promised to one operation; nothing was sealed under it yet",
    KeyState.ARMED: "journaled for one message, before its first byte leaves; never free again",
    KeyState.CONSUMED: "its message arrived and was acknowledged; the key is erased",
    KeyState.BURNED: "given up unused or half used; the key is erased",
    KeyState.EXPIRED: "older than its lifetime and never promised; the key is erased",
    KeyState.QUARANTINED: "its turn was suspicious; kept, given to nobody until somebody decides",
}

ALLOWED: dict[KeyState, frozenset[KeyState]] = {
    KeyState.PENDING: frozenset({KeyState.AVAILABLE, KeyState.BURNED, KeyState.QUARANTINED}),
    KeyState.AVAILABLE: frozenset(
        {KeyState.RESERVED, KeyState.BURNED, KeyState.EXPIRED, KeyState.QUARANTINED}
    ),
    KeyState.RESERVED: frozenset(
        {KeyState.AVAILABLE, KeyState.ARMED, KeyState.BURNED, KeyState.QUARANTINED}
    ),
    KeyState.ARMED: frozenset({KeyState.CONSUMED, KeyState.BURNED}),
    KeyState.CONSUMED: frozenset(),
    KeyState.BURNED: frozenset(),
    KeyState.EXPIRED: frozenset(),
    KeyState.QUARANTINED: frozenset({KeyState.AVAILABLE, KeyState.BURNED}),
}

ERASED = frozenset({KeyState.CONSUMED, KeyState.BURNED, KeyState.EXPIRED})
