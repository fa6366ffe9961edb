"""Codec of the stream's header (FORMAT.md, section 3). One header has one encoding."""

from __future__ import annotations

import enum
import secrets
import struct
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from image_transfer.announcement import (
    Announcement,
    Attempt,
    Direction,
    KeySource,
    Suite,
)
from image_transfer.errors import (
    AnnouncementInvalid,
    HeaderMalformed,
    HeaderMismatch,
    HeaderRefused,
    ResumeIndexForged,
    StaleAttempt,
    SuiteRefused,
    VersionRefused,
    WrongDestination,
)

MAGIC: Final = b"QNFVSEAL"
VERSION: Final = 1
SALT_BYTES: Final = 32
PREFIX_BYTES: Final = 12
"""Magic, version, suite and length: what is read, and judged, before the rest."""
HEADER_MIN_BYTES: Final = 164
HEADER_MAX_BYTES: Final = 418

_PREFIX = struct.Struct(">8sBBH")
_FIXED = struct.Struct(">8sBBHBBBBQII32s16s16s32s32s")
_Member = TypeVar("_Member", bound=enum.IntEnum)


@dataclass(frozen=True, slots=True)
class Header:
    """What one attempt says about itself; `salt` is the sender's, drawn for this attempt alone."""

    announcement: Announcement
    attempt: Attempt
    salt: bytes

    def __post_init__(self) -> None:
        if len(self.salt) != SALT_BYTES:
            raise AnnouncementInvalid(f"The salt has {len(self.salt)} bytes instead of 32.")
        if self.attempt.start_chunk >= self.announcement.chunk_count:
            raise AnnouncementInvalid(
                f"The start chunk {self.attempt.start_chunk} is not below the "
                f"{self.announcement.chunk_count} chunks of the image."
            )

    @classmethod
    def draw(cls, announcement: Announcement, attempt: Attempt) -> Header:
        """A header for a new attempt, with a fresh salt."""
        return cls(announcement, attempt, secrets.token_bytes(SALT_BYTES))

    def encode(self) -> bytes:
        a, t = self.announcement, self.attempt
        sender, destination = a.sender.encode("ascii"), a.destination.encode("ascii")
        length = _FIXED.size + 2 + len(sender) + len(destination)
        fixed = _FIXED.pack(
            MAGIC,
            VERSION,
            a.suite,
            length,
            a.chunk_log2,
            a.direction,
            a.key_source,
            0,
            a.image_size,
            t.number,
            t.start_chunk,
            a.image_digest,
            a.key_id.bytes,
            a.transfer_id.bytes,
            self.salt,
            t.receiver_nonce,
        )
        return b"".join(
            (fixed, bytes([len(sender)]), sender, bytes([len(destination)]), destination)
        )

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """The header whose exact encoding is `data`.

        Raises `HeaderMalformed`, `VersionRefused` or `SuiteRefused`.
        """
        if header_length(data[:PREFIX_BYTES]) != len(data):
            raise _malformed("its length is not the one it states")
        (
            _magic, _version, suite, _length, chunk_log2, direction, key_source, reserved,
            image_size, number, start_chunk, image_digest, key_id, transfer_id, salt, nonce,
        ) = _FIXED.unpack_from(data)  # fmt: skip
        if reserved != 0:
            raise _malformed("a reserved byte is not 0")
        sender, rest = _take_name(data[_FIXED.size :])
        destination, rest = _take_name(rest)
        if rest:
            raise _malformed("its length is not that of its names")
        try:
            return cls(
                Announcement(
                    transfer_id=UUID(bytes=transfer_id),
                    image_digest=image_digest,
                    image_size=image_size,
                    key_id=UUID(bytes=key_id),
                    key_source=_member(KeySource, key_source, "key source class"),
                    sender=sender,
                    destination=destination,
                    suite=Suite(suite),
                    direction=_member(Direction, direction, "direction"),
                    chunk_log2=chunk_log2,
                ),
                Attempt(number, start_chunk, nonce),
                salt,
            )
        except AnnouncementInvalid as error:
            raise _malformed(error.detail.removesuffix(".")) from error

    def check(self, announcement: Announcement, attempt: Attempt | None) -> None:
        """Raise unless this header is for `announcement` under the valid ticket `attempt`.

        Raises `SuiteRefused`, `WrongDestination`, `HeaderMismatch`, `StaleAttempt` or
        `ResumeIndexForged`; the nonce is compared in constant time.
        """
        if self.announcement.suite != announcement.suite:
            raise _suite_refused(self.announcement.suite)
        if self.announcement.destination != announcement.destination:
            raise WrongDestination("destination")
        for name in Announcement.__dataclass_fields__:
            if getattr(self.announcement, name) != getattr(announcement, name):
                raise HeaderMismatch(name.replace("_", " "))
        if (
            attempt is None
            or self.attempt.number != attempt.number
            or not secrets.compare_digest(self.attempt.receiver_nonce, attempt.receiver_nonce)
        ):
            raise StaleAttempt(
                f"Attempt {self.attempt.number} has no valid ticket: it is used up, replaced, "
                "or was never issued.",
                next_step="Ask the receiver for a new ticket.",
            )
        if self.attempt.start_chunk != attempt.start_chunk:
            raise ResumeIndexForged(
                f"The stream starts at chunk {self.attempt.start_chunk}; the receiver stands "
                f"at chunk {attempt.start_chunk}.",
                next_step="Ask the receiver for a new ticket.",
            )


def header_length(prefix: bytes) -> int:
    """How many bytes the header has that begins with `prefix` (its first 12 bytes).

    Raises `HeaderMalformed`, `VersionRefused` or `SuiteRefused`.
    """
    if len(prefix) < PREFIX_BYTES:
        raise _malformed("it is too short")
    magic, version, suite, length = _PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise _malformed("it has another magic")
    if version != VERSION:
        raise VersionRefused(
            f"The stream has version {version}; only version {VERSION} is spoken here.",
            next_step="Bring both ends to the same release.",
        )
    if suite not in Suite.__members__.values():
        raise _suite_refused(suite)
    if not HEADER_MIN_BYTES <= length <= HEADER_MAX_BYTES:
        raise _malformed(f"it states a length of {length} bytes")
    return int(length)


def _take_name(data: bytes) -> tuple[str, bytes]:
    if not data or len(data) < 1 + data[0]:
        raise _malformed("a name in it is cut")
    # Latin-1 cannot fail; the announcement then refuses what is not printable ASCII.
    return data[1 : 1 + data[0]].decode("latin-1"), data[1 + data[0] :]


def _member(kind: type[_Member], value: int, name: str) -> _Member:
    try:
        return kind(value)
    except ValueError as error:
        raise _malformed(f"its {name} {value} is unknown") from error


def _malformed(why: str) -> HeaderMalformed:
    return HeaderMalformed(
        f"The first bytes of the connection are not a header of a sealed stream: {why}.",
        next_step="Check that the peer is a sender of this release.",
    )


def _suite_refused(suite: int) -> HeaderRefused:
    return SuiteRefused(
        f"The stream uses suite {int(suite)}, which was not announced for this transfer.",
        next_step="Announce the transfer with the suite that the sender uses.",
    )
