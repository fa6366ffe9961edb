"""One record of the audit chain and its canonical bytes (docs/audit.md)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_MAGIC = b"qnfv-audit-record-1\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_HASH = bytes(32)
"""What the first record has in place of a predecessor's hash."""


@dataclass(frozen=True)
class Entry:
    """What happened, before it has its place in the chain. Never a secret in any of it."""

    who: str
    role: str
    via: str
    """By what the asker was known: `token-file`, `token`, `session`, `none` or `inside`."""
    source: str
    """The address the request came from; empty for what the orchestrator did by itself."""
    action: str
    outcome: str
    subjects: Mapping[str, str] = field(default_factory=dict)
    """Ids of what it was about."""


@dataclass(frozen=True)
class Head:
    """Where a chain ends: the number and the hash (32 bytes) of its last record."""

    sequence: int
    hash: bytes


@dataclass(frozen=True)
class Record:
    """An entry in its place. `hash` is what the table holds, true or not."""

    sequence: int
    at: datetime
    entry: Entry
    previous: bytes
    hash: bytes

    @property
    def true_hash(self) -> bytes:
        """The hash that this content must have (32 bytes)."""
        return record_hash(self.sequence, self.at, self.entry, self.previous)


def record_hash(sequence: int, at: datetime, entry: Entry, previous: bytes) -> bytes:
    """SHA-256 of the canonical bytes."""
    return hashlib.sha256(canonical_bytes(sequence, at, entry, previous)).digest()


def canonical_bytes(sequence: int, at: datetime, entry: Entry, previous: bytes) -> bytes:
    """The bytes that a record's hash is taken of. `at` counts in whole microseconds."""
    at_us = (at - _EPOCH) // timedelta(microseconds=1)
    parts = [_MAGIC, struct.pack(">Qq", sequence, at_us), previous]
    texts = (entry.who, entry.role, entry.via, entry.source, entry.action, entry.outcome)
    parts += [_text(text) for text in texts]
    subjects = sorted((_text(name), _text(value)) for name, value in entry.subjects.items())
    parts.append(struct.pack(">I", len(subjects)))
    for name, value in subjects:
        parts += (name, value)
    return b"".join(parts)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">I", len(encoded)) + encoded
