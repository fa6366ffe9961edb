"""Asks a key server for keys: blocking UDP, bounded in time and attempts."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from idq3p.codec import (
    KEY_LENGTH_OCTETS,
    MAX_DEVICES,
    NEW_KEY,
    PORT,
    RESPONSE_LENGTH,
    ByteOrder,
    KeyRequest,
    KeyResponse,
    Status,
)
from idq3p.errors import (
    InvalidKeyRequestError,
    KeyIdUnknownError,
    KeyServerNotListeningError,
    KeyServerRefusalError,
    KeyServerSilentError,
    MalformedDatagramError,
    NoMoreKeysError,
    UnsoundKeyError,
    WrongKeyLengthError,
)
from idq3p.key_bytes import KeyBytes
from timekeeping import Clock, SystemClock

log = logging.getLogger(__name__)

# Answers that may still come for calls that gave up; more than that are surely lost.
_OPEN_REQUESTS_KEPT: Final = 64

_REFUSALS: Final[dict[int, tuple[type[KeyServerRefusalError], str]]] = {
    Status.NO_MORE_KEYS: (
        NoMoreKeysError,
        "Wait until the unit generates keys (see its phase), then ask again.",
    ),
    Status.KEY_ID_DOESNT_EXIST: (
        KeyIdUnknownError,
        "Burn this id at the other end too: the two ends do not both hold the key.",
    ),
    Status.WRONG_KEY_LENGTH: (WrongKeyLengthError, "Only keys of 32 octets are used here."),
    Status.INVALID_KEY_REQUEST: (
        InvalidKeyRequestError,
        "Check the device id (1..12) and the byte order in the settings of this unit.",
    ),
}


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key and the vendor's 64-bit id. The id is opaque and not secret."""

    key_id: int
    key: KeyBytes


class Idq3pClient:
    """One encryptor's view of one key server. Safe to call from several threads, one at a time.

    The socket is connected, so the kernel itself drops datagrams from any other address or port.
    """

    def __init__(
        self,
        address: str,
        port: int = PORT,
        *,
        device_id: int = 1,
        timeout_s: float = 5.0,
        attempts: int = 3,
        byteorder: ByteOrder = "little",
        clock: Clock | None = None,
    ) -> None:
        if not 1 <= device_id <= MAX_DEVICES:
            raise ValueError(f"the device id is 1..{MAX_DEVICES}, got {device_id}")
        if attempts < 1 or not timeout_s > 0:
            raise ValueError("at least one attempt and a timeout above 0 s are needed")
        self.address = address
        self.port = port
        self._device_id = device_id
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._byteorder = byteorder
        self._clock: Clock = clock or SystemClock()
        self._lock = threading.Lock()
        # A random start keeps answers to an earlier client on this port from matching ours.
        self._last_request_id = secrets.randbits(32)
        self._open_new_key_requests: dict[int, None] = {}
        self._late: deque[KeyResponse] = deque()
        self._burned = 0
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.connect((address, port))
        except OSError as error:
            self._socket.close()
            raise KeyServerNotListeningError(
                f"The key server's address {address} port {port} cannot be used: {error}.",
                next_step="Correct the unit's address in the settings.",
            ) from error

    @property
    def unanswered_new_key_requests(self) -> int:
        """Requests for a new key that were never answered: each may have burned one key."""
        return self._burned + len(self._open_new_key_requests)

    def new_key(self) -> IssuedKey:
        """A key that this server has not delivered before.

        Raises `NoMoreKeysError` when nothing is in store, `KeyServerSilentError` and
        `KeyServerNotListeningError` when nobody answers, `UnsoundKeyError` for a bad answer.
        """
        with self._lock:
            stray = self._stray_key()
            return stray or self._ask(NEW_KEY)

    def key_by_id(self, key_id: int) -> IssuedKey:
        """The key under `key_id`. Repeating is harmless at the server.

        Raises `KeyIdUnknownError` when it holds none, otherwise as `new_key`.
        """
        if not 0 < key_id < 1 << 64:
            raise ValueError("a key id is a 64-bit number above 0")
        with self._lock:
            return self._ask(key_id)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, key_id: int) -> IssuedKey:
        mine: set[int] = set()
        for _ in range(self._attempts):
            request = self._next_request(key_id)
            mine.add(request.request_id)
            if key_id == NEW_KEY:
                self._remember(request.request_id)
            self._send(request.encode(self._byteorder))
            response = self._await(self._answers(key_id, mine))
            if response is not None:
                return self._judged(key_id, response)
        raise KeyServerSilentError(
            f"The key server at {self.address} port {self.port} gave no valid answer in "
            f"{self._attempts} attempts of {self._timeout_s:g} s.",
            next_step="Check that the unit runs and that the path to it is open.",
        )

    def _answers(self, key_id: int, mine: set[int]) -> Callable[[KeyResponse], bool]:
        """What counts as an answer. For a new key, also a late key of an earlier request."""

        def by_id(response: KeyResponse) -> bool:
            if response.request_id in self._open_new_key_requests:
                del self._open_new_key_requests[response.request_id]
                if response.status == Status.SUCCESS:
                    self._late.append(response)
            return response.request_id in mine

        def new(response: KeyResponse) -> bool:
            if response.request_id not in self._open_new_key_requests:
                return False
            del self._open_new_key_requests[response.request_id]
            # A late "no" to an earlier request says nothing about this moment.
            return response.request_id in mine or response.status == Status.SUCCESS

        return new if key_id == NEW_KEY else by_id

    def _await(self, is_answer: Callable[[KeyResponse], bool]) -> KeyResponse | None:
        """The next answer, or None after the timeout, however many other datagrams come."""
        deadline_s = self._clock.monotonic() + self._timeout_s
        while (left_s := deadline_s - self._clock.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                response = self._receive()
            except TimeoutError:
                return None
            if response is not None and is_answer(response):
                return response
        return None

    def _stray_key(self) -> IssuedKey | None:
        """A key that arrived after its call had given up."""
        if self._late:
            return self._judged(NEW_KEY, self._late.popleft())
        if not self._open_new_key_requests:
            return None
        is_late_answer = self._answers(NEW_KEY, set())
        self._socket.settimeout(0)
        # Bounded, so that a flood of datagrams cannot hold us here.
        for _ in range(4 * _OPEN_REQUESTS_KEPT):
            try:
                response = self._receive()
            except (BlockingIOError, TimeoutError):
                return None
            except KeyServerNotListeningError:
                # The kernel's notice about an earlier datagram; the server may be back by now.
                continue
            if response is not None and is_late_answer(response):
                return self._judged(NEW_KEY, response)
        return None

    def _receive(self) -> KeyResponse | None:
        buffer = bytearray(RESPONSE_LENGTH + 1)
        try:
            length = self._socket.recv_into(buffer)
        except ConnectionRefusedError as error:
            raise self._not_listening() from error
        try:
            return KeyResponse.decode(buffer[:length], self._byteorder)
        except MalformedDatagramError as error:
            log.warning("datagram from %s dropped: %s", self.address, error.detail)
            return None
        finally:
            buffer[:] = bytes(len(buffer))

    def _send(self, datagram: bytes) -> None:
        self._socket.settimeout(self._timeout_s)
        for _ in range(2):
            try:
                self._socket.send(datagram)
                return
            except ConnectionRefusedError:
                # Reports an earlier datagram's fate and clears it; this one was not sent.
                continue
            except OSError as error:
                raise KeyServerNotListeningError(
                    f"The key server at {self.address} cannot be reached: {error}.",
                    next_step="Check the unit's address and the network to it.",
                ) from error
        raise self._not_listening()

    def _not_listening(self) -> KeyServerNotListeningError:
        return KeyServerNotListeningError(
            f"Nothing listens at {self.address} port {self.port}.",
            next_step="Start the QKD unit's program, then ask again.",
        )

    def _next_request(self, key_id: int) -> KeyRequest:
        self._last_request_id = (self._last_request_id + 1) & 0xFFFFFFFF
        return KeyRequest(key_id, self._last_request_id, self._device_id)

    def _remember(self, request_id: int) -> None:
        self._open_new_key_requests[request_id] = None
        if len(self._open_new_key_requests) > _OPEN_REQUESTS_KEPT:
            self._open_new_key_requests.pop(next(iter(self._open_new_key_requests)))
            self._burned += 1

    def _judged(self, asked_id: int, response: KeyResponse) -> IssuedKey:
        if response.status != Status.SUCCESS:
            kind, next_step = _REFUSALS.get(
                response.status, (KeyServerRefusalError, "Look into the log of the unit.")
            )
            wanted = "a new key" if asked_id == NEW_KEY else f"key {asked_id:016x}"
            raise kind(
                f"The key server at {self.address} refused {wanted} with status {response.status}.",
                next_step=next_step,
            )
        fault = _fault(asked_id, response)
        if fault:
            response.key.wipe()
            raise UnsoundKeyError(
                f"The key server at {self.address} {fault}.",
                next_step="Stop the unit and check it; the key is not used.",
            )
        return IssuedKey(response.key_id, response.key)


def _fault(asked_id: int, response: KeyResponse) -> str:
    if response.key_length != KEY_LENGTH_OCTETS:
        return f"delivered a key of {response.key_length} octets in place of {KEY_LENGTH_OCTETS}"
    if response.key_id == NEW_KEY:
        return "delivered a key without an id"
    if asked_id not in (NEW_KEY, response.key_id):
        return "delivered another key than the one asked for"
    if response.key.is_zero:
        return "delivered an all-zero key"
    return ""
