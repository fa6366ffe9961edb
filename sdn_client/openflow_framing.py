"""Cuts a byte stream into OpenFlow frames: the 8-byte header is the same in every version."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sdn_client.errors import MalformedMessage

HEADER = struct.Struct("!BBHI")
MAX_LENGTH = 0xFFFF


@dataclass(frozen=True)
class Frame:
    """One message: its header's fields and the body behind the header."""

    version: int
    type: int
    xid: int
    body: bytes

    @property
    def raw(self) -> bytes:
        return (
            HEADER.pack(self.version, self.type, HEADER.size + len(self.body), self.xid) + self.body
        )


class FrameReader:
    """Collects bytes and hands out whole frames.

    `max_length` bounds a frame in bytes, its header included. After a MalformedMessage the stream
    has no further frames: close the connection.
    """

    def __init__(self, max_length: int = MAX_LENGTH) -> None:
        self._max_length = max_length
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes. MalformedMessage for a length out of bounds."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            version, kind, length, xid = HEADER.unpack_from(self._buffer)
            if not HEADER.size <= length <= self._max_length:
                raise MalformedMessage(
                    f"A frame of type {kind} announces {length} bytes; {HEADER.size} to"
                    f" {self._max_length} are allowed.",
                    next_step="The peer does not speak OpenFlow; check its address and port.",
                )
            if len(self._buffer) < length:
                return
            body = bytes(self._buffer[HEADER.size : length])
            del self._buffer[:length]
            yield Frame(version, kind, xid, body)
