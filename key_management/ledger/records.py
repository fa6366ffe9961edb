"""What is said about keys, and what they travel in; never the key in a repr."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from key_management.states import KeyState
from key_management.tables import KeyRow

KEY_BYTES = 32


@dataclass
class ExtractedKey:
    """A key as a QKD unit delivered it, on its way into the ledger; never shown."""

    key_id: UUID
    vendor_key_id: bytes
    key: bytearray = field(repr=False)

    def wipe(self) -> None:
        """Overwrite the bytes (best effort: Python may have copied them before)."""
        self.key[:] = bytes(len(self.key))


@dataclass(frozen=True)
class Message:
    """What a key protects: one image on its way to one destination, however many attempts."""

    transfer_id: UUID
    image_digest: bytes
    destination: str


@dataclass(frozen=True)
class KeyRecord:
    """What may be said about a key: everything but the key."""

    key_id: UUID
    link: str
    state: KeyState
    epoch: UUID
    emulated: bool
    owner: UUID | None
    turn: UUID | None = None
    made_at: datetime | None = None


# What a query reads where no whole row is needed.
RECORD = (
    KeyRow.key_id,
    KeyRow.link,
    KeyRow.state,
    KeyRow.epoch,
    KeyRow.emulated,
    KeyRow.owner,
    KeyRow.turn,
    KeyRow.made_at,
)


def record_of(row: Any) -> KeyRecord:
    """The record of a row, or of the columns of `RECORD`."""
    return KeyRecord(
        row.key_id,
        row.link,
        KeyState(row.state),
        row.epoch,
        row.emulated,
        row.owner,
        row.turn,
        row.made_at,
    )


class KeyUse(NamedTuple):
    """What a key was armed for."""

    link: str
    key_id: UUID
    transfer_id: UUID
    image_digest: bytes
    destination: str


@dataclass(frozen=True)
class Quarantine:
    """Keys of one turn that are given to nobody until an administrator decides."""

    turn: UUID
    keys: int
    reason: str
    since: datetime


@dataclass(frozen=True)
class Account:
    """What became of all keys of a link that ever entered; `made` is counted for itself."""

    link: str
    made: int
    counts: dict[KeyState, int]

    @property
    def missing(self) -> int:
        """Made, but in no state: 0, or the store was tampered with."""
        return self.made - sum(self.counts.values())
