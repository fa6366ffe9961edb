"""Exchanges that end in time, however slowly the other side speaks.

A timeout of httpx is for each read: who sends a byte now and then is never too slow. Here every
use of the network gets what is left of the exchange's own time. How long a name server may take,
the system's resolver says.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from timekeeping import Clock

_CONNECTIONS = 32
_WRITE_BYTES = 16_384
_LEAST_S = 0.001
"""A timeout of 0 would mean not to wait at all."""


class DeadlineTransport(httpx.HTTPTransport):
    """The transport of httpx. Thread-safe: a thread's deadline is its own."""

    def __init__(self, verify: ssl.SSLContext, clock: Clock) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._deadline = _Deadline(clock)
        self._pool = httpcore.ConnectionPool(
            ssl_context=verify,
            max_connections=_CONNECTIONS,
            keepalive_expiry=5.0,
            network_backend=_Backend(self._deadline),
        )

    @contextmanager
    def within(self, limit_s: float) -> Iterator[None]:
        """What this thread asks inside takes `limit_s` at most, all of it together."""
        self._deadline.start(limit_s)
        try:
            yield
        finally:
            self._deadline.stop()


class _Deadline(threading.local):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: float | None = None

    def start(self, limit_s: float) -> None:
        self._until = self._clock.monotonic() + limit_s

    def stop(self) -> None:
        self._until = None

    def left_s(self, timeout_s: float | None, error: type[Exception]) -> float | None:
        """How long the next wait may be. Raises `error` where the time is up."""
        if self._until is None:
            return timeout_s
        left_s = self._until - self._clock.monotonic()
        if left_s <= 0:
            raise error("the exchange took too long")
        return max(_LEAST_S, left_s if timeout_s is None else min(left_s, timeout_s))


class _Backend(httpcore.NetworkBackend):
    def __init__(self, deadline: _Deadline) -> None:
        self._inner = httpcore.SyncBackend()
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        failed: Exception = httpcore.ConnectError("its name has no address")
        for *_, address in found:  # one after the other, so that they share the time
            left_s = self._deadline.left_s(timeout, httpcore.ConnectTimeout)
            try:
                inner = self._inner.connect_tcp(
                    str(address[0]), port, left_s, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
                continue
            return _Stream(inner, self._deadline)
        raise failed


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        piece = self._inner.read(max_bytes, self._deadline.left_s(timeout, httpcore.ReadTimeout))
        self._deadline.left_s(timeout, httpcore.ReadTimeout)
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_BYTES):
            left_s = self._deadline.left_s(timeout, httpcore.WriteTimeout)
            self._inner.write(buffer[start : start + _WRITE_BYTES], left_s)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self._deadline.left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left_s), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
