"""The key server's side of IDQ3P: a sans-IO handler and its asyncio transport."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol, cast

from idq3p.codec import (
    KEY_LENGTH_OCTETS,
    MAX_DEVICES,
    NEW_KEY,
    PORT,
    REQUEST_LENGTH,
    RESERVED,
    ByteOrder,
    KeyRequest,
    KeyResponse,
    Status,
    crc32_bzip2,
)
from idq3p.errors import MalformedDatagramError
from idq3p.key_bytes import KeyBytes

log = logging.getLogger(__name__)

_TYPE_OFFSET: Final = 0


class KeyShelf(Protocol):
    """Where a key server takes its keys from. The shelf keeps owning the `KeyBytes`."""

    def take_new(self) -> tuple[int, KeyBytes] | None:
        """A key not delivered before, now marked as delivered; None when there is none."""
        ...

    def by_id(self, key_id: int) -> KeyBytes | None:
        """The key under this id, now marked as delivered; None when there is none."""
        ...


class MemoryKeyShelf:
    """A bounded shelf in memory.

    Holds at most `capacity` keys not yet delivered, and the last `capacity` delivered ones, which
    the protocol lets a client ask for again.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self.capacity = capacity
        self._fresh: dict[int, KeyBytes] = {}
        self._delivered: dict[int, KeyBytes] = {}

    @property
    def free(self) -> int:
        """How many further keys fit."""
        return self.capacity - len(self._fresh)

    def __len__(self) -> int:
        return len(self._fresh)

    def __contains__(self, key_id: int) -> bool:
        return key_id in self._fresh or key_id in self._delivered

    def put(self, key_id: int, key: KeyBytes) -> None:
        """Shelve a key. `ValueError` when the shelf is full or the id is 0 or already held."""
        if self.free <= 0:
            raise ValueError("the shelf is full")
        if key_id == NEW_KEY or key_id in self:
            raise ValueError(f"the id {key_id:016x} cannot be shelved")
        self._fresh[key_id] = key

    def take_new(self) -> tuple[int, KeyBytes] | None:
        if not self._fresh:
            return None
        key_id = next(iter(self._fresh))
        return key_id, self._deliver(key_id)

    def by_id(self, key_id: int) -> KeyBytes | None:
        if key_id in self._fresh:
            return self._deliver(key_id)
        return self._delivered.get(key_id)

    def wipe(self) -> None:
        """Forget all keys."""
        for shelf in (self._fresh, self._delivered):
            for key in shelf.values():
                key.wipe()
            shelf.clear()

    def _deliver(self, key_id: int) -> KeyBytes:
        key = self._fresh.pop(key_id)
        self._delivered[key_id] = key
        if len(self._delivered) > self.capacity:
            self._delivered.pop(next(iter(self._delivered))).wipe()
        return key


class KeyServer:
    """Answers datagrams out of a shelf. Never raises on what it is sent."""

    def __init__(self, shelf: KeyShelf, byteorder: ByteOrder = "little") -> None:
        self._shelf = shelf
        self._byteorder = byteorder
        self.dropped = 0

    def answer(self, datagram: bytes) -> bytearray | None:
        """The response to `datagram`, or None where PROTOCOL.md wants silence."""
        if len(datagram) != REQUEST_LENGTH or crc32_bzip2(datagram[:-4]) != datagram[-4:]:
            self.dropped += 1
            return None
        try:
            request = KeyRequest.decode(datagram, self._byteorder)
        except MalformedDatagramError:
            # Right length and CRC, so only the type is wrong: read the rest as a request.
            body = bytearray(datagram[:-4])
            body[_TYPE_OFFSET] = 0
            request = KeyRequest.decode(bytes(body + crc32_bzip2(body)), self._byteorder)
            return self._refusal(request, Status.INVALID_KEY_REQUEST)
        return self._serve(request)

    def _serve(self, request: KeyRequest) -> bytearray:
        if not 1 <= request.device_id <= MAX_DEVICES or request.reserved != RESERVED:
            return self._refusal(request, Status.INVALID_KEY_REQUEST)
        if not 1 <= request.key_length <= KEY_LENGTH_OCTETS:
            return self._refusal(request, Status.WRONG_KEY_LENGTH)
        key_id, key = request.key_id, None
        if key_id == NEW_KEY:
            taken = self._shelf.take_new()
            if taken is None:
                return self._refusal(request, Status.NO_MORE_KEYS)
            key_id, key = taken
        else:
            key = self._shelf.by_id(key_id)
            if key is None:
                return self._refusal(request, Status.KEY_ID_DOESNT_EXIST)
        wanted = bytes(key.reveal()[: request.key_length]).ljust(KEY_LENGTH_OCTETS, b"\0")
        with KeyBytes(wanted) as octets:
            return KeyResponse(
                key_id,
                request.request_id,
                Status.SUCCESS,
                octets,
                request.device_id,
                request.key_length,
            ).encode(self._byteorder)

    def _refusal(self, request: KeyRequest, status: Status) -> bytearray:
        return KeyResponse(
            request.key_id,
            request.request_id,
            status,
            device_id=request.device_id,
            key_length=request.key_length,
        ).encode(self._byteorder)


class _KeyServerProtocol(asyncio.DatagramProtocol):
    def __init__(self, server: KeyServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own datagram transport does not derive from the class that names its methods.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self._server.answer(data)
        if response is not None and self._transport is not None:
            self._transport.sendto(bytes(response), addr)
            response[:] = bytes(len(response))

    def error_received(self, exc: Exception) -> None:
        log.warning("key server: %s", exc)


async def serve_key_server(
    server: KeyServer, address: str, port: int = PORT
) -> asyncio.DatagramTransport:
    """Listen on `address`; close the returned transport to stop. `OSError` if the port is taken."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _KeyServerProtocol(server), local_addr=(address, port)
    )
    return transport
