"""The datagrams of IDQ3P as bytes and back (PROTOCOL.md beside this file).

Sans-IO. Decoding never returns a datagram whose length, type or CRC is wrong; everything else
that PROTOCOL.md demands is judged by the client or the server, which know what they expect.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

from idq3p.errors import MalformedDatagramError
from idq3p.key_bytes import KeyBytes

ByteOrder = Literal["little", "big"]

PORT: Final = 5323
KEY_LENGTH_OCTETS: Final = 32
MAX_DEVICES: Final = 12
NEW_KEY: Final = 0
"""The key id that asks for a new key."""

REQUEST_TYPE: Final = 0
RESPONSE_TYPE: Final = 1
REQUEST_LENGTH: Final = 29
RESPONSE_LENGTH: Final = 62
RESERVED: Final = bytes(10)

_KEY_OFFSET: Final = 15
_ORDER: Final[dict[ByteOrder, str]] = {"little": "<", "big": ">"}
_REQUEST: Final = {order: struct.Struct(f"{mark}BIIBIB10s") for order, mark in _ORDER.items()}
_RESPONSE: Final = {order: struct.Struct(f"{mark}BIIBIB32sB10s") for order, mark in _ORDER.items()}
_BITS_REVERSED: Final = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


class Status(IntEnum):
    """errorStatus of a response."""

    SUCCESS = 0
    NO_MORE_KEYS = 1
    KEY_ID_DOESNT_EXIST = 2
    WRONG_KEY_LENGTH = 3
    INVALID_KEY_REQUEST = 4


def crc32_bzip2(data: bytes | bytearray) -> bytes:
    """CRC-32/BZIP2 of `data` as it stands on the wire (4 octets, big-endian).

    It is the mirror image of zlib's CRC-32, bit for bit, so zlib does the work.
    """
    mirrored = zlib.crc32(data.translate(_BITS_REVERSED))
    return mirrored.to_bytes(4, "little").translate(_BITS_REVERSED)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A request. `key_id` 0 asks for a new key."""

    key_id: int
    request_id: int
    device_id: int = 1
    key_length: int = KEY_LENGTH_OCTETS
    reserved: bytes = RESERVED

    def encode(self, byteorder: ByteOrder = "little") -> bytes:
        """29 octets. A field outside its range is a `ValueError`: the caller's slip."""
        try:
            body = _REQUEST[byteorder].pack(
                REQUEST_TYPE,
                self.key_id >> 32,
                self.key_id & 0xFFFFFFFF,
                self.key_length,
                self.request_id,
                self.device_id,
                self.reserved,
            )
        except struct.error as error:
            raise ValueError(f"a field of the key request is out of range: {error}") from error
        return body + crc32_bzip2(body)

    @classmethod
    def decode(cls, datagram: bytes, byteorder: ByteOrder = "little") -> KeyRequest:
        """Raises `MalformedDatagramError` for a wrong length, type or CRC."""
        _check(datagram, REQUEST_LENGTH, "request")
        kind, high, low, key_length, request_id, device_id, reserved = _REQUEST[
            byteorder
        ].unpack_from(datagram)
        if kind != REQUEST_TYPE:
            raise MalformedDatagramError(f"datagram type {kind} where a request (0) is expected")
        return cls((high << 32) | low, request_id, device_id, key_length, reserved)


@dataclass(frozen=True, slots=True)
class KeyResponse:
    """A response. `key` is always 32 octets; `status` may be a number unknown to `Status`."""

    key_id: int
    request_id: int
    status: int
    key: KeyBytes = field(default_factory=lambda: KeyBytes(bytes(KEY_LENGTH_OCTETS)))
    device_id: int = 1
    key_length: int = KEY_LENGTH_OCTETS
    reserved: bytes = RESERVED

    def encode(self, byteorder: ByteOrder = "little") -> bytearray:
        """62 octets; the caller may wipe them after sending."""
        if len(self.key) != KEY_LENGTH_OCTETS:
            raise ValueError(f"the key field is {KEY_LENGTH_OCTETS} octets, got {len(self.key)}")
        datagram = bytearray(RESPONSE_LENGTH)
        try:
            _RESPONSE[byteorder].pack_into(
                datagram,
                0,
                RESPONSE_TYPE,
                self.key_id >> 32,
                self.key_id & 0xFFFFFFFF,
                self.key_length,
                self.request_id,
                self.status,
                bytes(KEY_LENGTH_OCTETS),
                self.device_id,
                self.reserved,
            )
        except struct.error as error:
            raise ValueError(f"a field of the key response is out of range: {error}") from error
        datagram[_KEY_OFFSET : _KEY_OFFSET + KEY_LENGTH_OCTETS] = self.key.reveal()
        datagram[-4:] = crc32_bzip2(datagram[:-4])
        return datagram

    @classmethod
    def decode(cls, datagram: bytes | bytearray, byteorder: ByteOrder = "little") -> KeyResponse:
        """Raises `MalformedDatagramError` for a wrong length, type or CRC."""
        _check(datagram, RESPONSE_LENGTH, "response")
        kind, high, low, key_length, request_id, status, _, device_id, reserved = _RESPONSE[
            byteorder
        ].unpack_from(datagram)
        if kind != RESPONSE_TYPE:
            raise MalformedDatagramError(f"datagram type {kind} where a response (1) is expected")
        key = KeyBytes(memoryview(datagram)[_KEY_OFFSET : _KEY_OFFSET + KEY_LENGTH_OCTETS])
        return cls((high << 32) | low, request_id, status, key, device_id, key_length, reserved)


def _check(datagram: bytes | bytearray, length: int, what: str) -> None:
    if len(datagram) != length:
        raise MalformedDatagramError(
            f"a {what} has {length} octets, this datagram has {len(datagram)}"
        )
    if crc32_bzip2(datagram[:-4]) != datagram[-4:]:
        raise MalformedDatagramError(f"the CRC of the {what} does not match its contents")
