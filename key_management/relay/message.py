"""The relay message: its one encoding, its one-time pad and its one-time MAC (RELAY.md, 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

from key_management.relay.errors import RelayForgedError, RelayMessageError

BLOCK_BYTES: Final = 32
"""A key, a pad block and a MAC key are of one size."""
TAG_BYTES: Final = 16
MAX_HOPS: Final = 8
MIN_KEYS: Final = 2
MAX_KEYS: Final = 1024
MAX_NAME_BYTES: Final = 64
_MAGIC: Final = b"QNFVRELY"
_VERSION: Final = 1
_EMULATED: Final = 1
_FIXED_BYTES: Final = 48


@dataclass(frozen=True)
class Route:
    """A way over trusted nodes: `links[i]` leads from `nodes[i]` to `nodes[i + 1]`."""

    route_id: UUID
    relayed_link: str
    nodes: tuple[str, ...]
    links: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.links) <= MAX_HOPS or len(self.nodes) != len(self.links) + 1:
            raise _refused(f"a route has 1 to {MAX_HOPS} hops and one node more than hops")
        if len(set(self.nodes)) != len(self.nodes):
            raise _refused("a route passes no node twice")
        for name in (self.relayed_link, *self.nodes, *self.links):
            if not name.isascii() or not name.isprintable() or not 1 <= len(name) <= MAX_NAME_BYTES:
                raise _refused(f"names are 1 to {MAX_NAME_BYTES} printable ASCII characters")

    @property
    def hops(self) -> int:
        return len(self.links)


@dataclass(frozen=True)
class Envelope:
    """All of a message but ciphertext and tag; nothing in it is secret."""

    route: Route
    hop: int
    epoch: UUID
    key_ids: tuple[UUID, ...]
    block_ids: tuple[UUID, ...]
    """The pad blocks in the order of the keys, then the MAC block."""
    emulated: bool

    def __post_init__(self) -> None:
        if not 0 <= self.hop < self.route.hops:
            raise _refused(f"hop {self.hop} is not on a route of {self.route.hops}")
        if not MIN_KEYS <= len(self.key_ids) <= MAX_KEYS:
            raise _refused(f"a batch has {MIN_KEYS} to {MAX_KEYS} keys")
        if len(self.block_ids) != len(self.key_ids) + 1:
            raise _refused("a batch needs one block a key and one for the tag")
        for ids in (self.key_ids, self.block_ids):
            if len(set(ids)) != len(ids):
                raise _refused("an id stands there twice")

    @property
    def link(self) -> str:
        return self.route.links[self.hop]

    def encode(self) -> bytes:
        route = self.route
        names = b"".join(
            bytes([len(name)]) + name.encode("ascii")
            for name in (route.relayed_link, *route.nodes, *route.links)
        )
        return b"".join(
            (
                _MAGIC,
                bytes([_VERSION, _EMULATED if self.emulated else 0, self.hop, route.hops]),
                len(self.key_ids).to_bytes(2, "big"),
                len(names).to_bytes(2, "big"),
                route.route_id.bytes,
                self.epoch.bytes,
                names,
                *(key_id.bytes for key_id in self.key_ids),
                *(block_id.bytes for block_id in self.block_ids),
            )
        )


def seal(envelope: Envelope, keys: bytearray, pad: bytearray) -> bytes:
    """The message with `keys` in it, 32 bytes each in the envelope's order.

    `pad` is the hop's blocks in the envelope's order. RelayMessageError if a length is wrong: a pad
    is never stretched or cut.
    """
    _check_lengths(envelope, len(keys), len(pad))
    body = envelope.encode() + _xor(keys, pad)
    return body + Poly1305.generate_tag(_mac_key(pad), body)


def open_sealed(message: bytes, pad: bytearray) -> bytearray:
    """The keys of a message, in a buffer that the caller wipes.

    Raises RelayForgedError if the tag does not verify, RelayMessageError if the form is wrong.
    """
    envelope = parse(message)
    ciphertext = message[-TAG_BYTES - BLOCK_BYTES * len(envelope.key_ids) : -TAG_BYTES]
    _check_lengths(envelope, len(ciphertext), len(pad))
    try:
        Poly1305.verify_tag(_mac_key(pad), message[:-TAG_BYTES], message[-TAG_BYTES:])
    except InvalidSignature as error:
        raise RelayForgedError(
            f"The message of route {envelope.route.route_id} on {envelope.link} does not verify.",
            next_step="Its blocks are burned. If it happens again, distrust that line or node.",
        ) from error
    return _xor(ciphertext, pad)


def parse(message: bytes) -> Envelope:
    """What a message says of itself. RelayMessageError for any other form than the one encoding."""
    if len(message) < _FIXED_BYTES or message[:8] != _MAGIC:
        raise _refused("it does not begin as a relay message")
    version, flags, hop, hops = message[8:12]
    if version != _VERSION or flags not in (0, _EMULATED):
        raise _refused(f"version {version} or flags {flags} are unknown")
    count = int.from_bytes(message[12:14], "big")
    names_end = _FIXED_BYTES + int.from_bytes(message[14:16], "big")
    ids_end = names_end + 16 * (2 * count + 1)
    if len(message) != ids_end + BLOCK_BYTES * count + TAG_BYTES:
        raise _refused("its length is not that of its parts")
    names = _names(message[_FIXED_BYTES:names_end])
    if len(names) != 2 + 2 * hops:
        raise _refused("it names more or fewer nodes than its hops have")
    ids = tuple(UUID(bytes=message[at : at + 16]) for at in range(names_end, ids_end, 16))
    route = Route(
        route_id=UUID(bytes=message[16:32]),
        relayed_link=names[0],
        nodes=tuple(names[1 : hops + 2]),
        links=tuple(names[hops + 2 :]),
    )
    return Envelope(
        route=route,
        hop=hop,
        epoch=UUID(bytes=message[32:48]),
        key_ids=ids[:count],
        block_ids=ids[count:],
        emulated=bool(flags & _EMULATED),
    )


def _names(encoded: bytes) -> list[str]:
    names: list[str] = []
    at = 0
    while at < len(encoded):
        end = at + 1 + encoded[at]
        name = encoded[at + 1 : end]
        if end > len(encoded) or not name.isascii():
            raise _refused("a name is cut or not ASCII")
        names.append(name.decode("ascii"))
        at = end
    return names


def _check_lengths(envelope: Envelope, key_bytes: int, pad_bytes: int) -> None:
    count = len(envelope.key_ids)
    if key_bytes != BLOCK_BYTES * count or pad_bytes != BLOCK_BYTES * (count + 1):
        raise _refused(
            f"{key_bytes} bytes of keys and {pad_bytes} bytes of pad do not belong to {count} keys"
        )


def _xor(data: bytes | bytearray, pad: bytearray) -> bytearray:
    result = bytearray(len(data))
    np.bitwise_xor(
        np.frombuffer(data, np.uint8),
        np.frombuffer(pad, np.uint8, len(data)),
        out=np.frombuffer(result, np.uint8),
    )
    return result


def _mac_key(pad: bytearray) -> bytes:
    return bytes(memoryview(pad)[-BLOCK_BYTES:])


def _refused(why: str) -> RelayMessageError:
    return RelayMessageError(
        f"Not acceptable: {why}.", next_step="Run the same version of qnfv on every node."
    )
