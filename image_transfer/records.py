"""Records of the sealed stream, without any input or output (FORMAT.md, section 7).

`RecordSealer` and `RecordOpener` walk the chunks in order, so that no index is sealed or opened
twice under the keys of one attempt.
"""

from __future__ import annotations

import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from image_transfer.errors import RecordForged, RecordMalformed
from image_transfer.header import Header
from image_transfer.keys import AttemptKeys

LAST: Final = 0x01
ZERO: Final = 0x02
HEAD_BYTES: Final = 5
TAG_BYTES: Final = 16
RECORD_MIN_BYTES: Final = HEAD_BYTES + TAG_BYTES
"""Every record has at least these, so they can be read before its length is known."""

_HEAD = struct.Struct(">BI")
_COUNTER = struct.Struct(">IB")


class _Cursor:
    """Where a sealer or opener stands, and the nonces of its attempt."""

    def __init__(self, header: Header, keys: AttemptKeys) -> None:
        self._announcement = header.announcement
        self._count = header.announcement.chunk_count
        self._prefix = bytes(keys.nonce_prefix)
        self._cipher = AESGCM(keys.aes_key)
        self.next_index = header.attempt.start_chunk

    @property
    def finished(self) -> bool:
        return self.next_index == self._count

    @property
    def plain_length(self) -> int:
        """Length in bytes of the chunk that comes next."""
        return self._announcement.plain_length(self.next_index)

    def _last_flag(self) -> int:
        return LAST if self.next_index == self._count - 1 else 0

    def _nonce(self, flags: int) -> bytes:
        return self._prefix + _COUNTER.pack(self.next_index, flags)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(next_index={self.next_index})"


class RecordSealer(_Cursor):
    """Seals the chunks of one attempt, each once, in order."""

    def seal(self, plain: memoryview, into: memoryview) -> int:
        """Write the record of the next chunk into `into`; its length in bytes.

        `into` needs room for the chunk and `RECORD_MIN_BYTES`. Raises `ValueError` for a chunk of
        a wrong length or beyond the last.
        """
        if self.finished or len(plain) != self.plain_length:
            raise ValueError(f"chunk {self.next_index} has no such length")
        return self._seal(self._last_flag(), plain, into)

    def seal_zeros(self, into: memoryview) -> int:
        """Write the record that stands for a chunk of zero bytes into `into`; its length."""
        if self.finished or self.plain_length == 0:
            raise ValueError(f"chunk {self.next_index} cannot be a zero record")
        return self._seal(self._last_flag() | ZERO, memoryview(b""), into)

    def _seal(self, flags: int, body: memoryview, into: memoryview) -> int:
        length = RECORD_MIN_BYTES + len(body)
        _HEAD.pack_into(into, 0, flags, len(body))
        nonce = self._nonce(flags)
        # The index is spent before the cipher runs: a failure can never reuse the nonce.
        self.next_index += 1
        self._cipher.encrypt_into(nonce, body, into[:HEAD_BYTES], into[HEAD_BYTES:length])
        return length


class RecordOpener(_Cursor):
    """Opens the records of one attempt, each once, in order.

    Read `RECORD_MIN_BYTES`, ask `body_length` how many more belong to the record, read those,
    then `open`. After any error the attempt is over.
    """

    def body_length(self, start: memoryview) -> int:
        """Length of the body of the record that begins with `start` (`RECORD_MIN_BYTES` bytes).

        The whole record has `RECORD_MIN_BYTES` more. Raises `RecordMalformed`.
        """
        flags, length = _HEAD.unpack_from(start)
        if self.finished:
            raise self._malformed("comes after the last chunk")
        if flags & ~(LAST | ZERO):
            raise self._malformed("has unknown flags")
        if flags & LAST != self._last_flag():
            raise self._malformed(
                "says it is the last, too early" if flags & LAST else "should say it is the last"
            )
        if flags & ZERO and self.plain_length == 0:
            raise self._malformed("stands for zeros where there are no bytes")
        if length != (0 if flags & ZERO else self.plain_length):
            raise self._malformed("has a wrong length")
        return int(length)

    def open(self, record: memoryview, into: memoryview) -> bool:
        """Verify the whole `record` and write its plain bytes into `into`.

        True when the chunk is all zeros by its record; `into` is then left alone. Raises
        `RecordMalformed` or `RecordForged`; what `into` holds after an error is worth nothing.
        """
        length = self.body_length(record[:RECORD_MIN_BYTES])
        if len(record) != RECORD_MIN_BYTES + length:
            raise self._malformed("has a wrong length")
        flags = record[0]
        try:
            self._cipher.decrypt_into(
                self._nonce(flags), record[HEAD_BYTES:], record[:HEAD_BYTES], into[:length]
            )
        except InvalidTag as error:
            raise RecordForged(
                f"The record of chunk {self.next_index} does not verify under the transfer's key.",
                next_step="Ask for a new attempt; if it repeats, somebody alters the stream.",
            ) from error
        self.next_index += 1
        return bool(flags & ZERO)

    def _malformed(self, why: str) -> RecordMalformed:
        return RecordMalformed(
            f"The record of chunk {self.next_index} {why}.",
            next_step="Ask for a new attempt; if it repeats, somebody alters the stream.",
        )
