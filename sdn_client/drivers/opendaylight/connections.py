"""Connections that are kept although the controller's TLS said something after an answer.

Java's TLS 1.3 sends a session ticket behind the first answer of a connection. httpcore looks
whether there is anything to read on an idle connection, takes a ticket for the controller's
good-bye and connects anew: with several calls at once, a handshake for almost every call.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx


class KeepingTransport(httpx.HTTPTransport):
    """The transport of httpx, over connections that can tell a ticket from an end."""

    def __init__(self, verify: ssl.SSLContext | bool, keepalive_s: float) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=verify if isinstance(verify, ssl.SSLContext) else None,
            keepalive_expiry=keepalive_s,
            network_backend=_Backend(),
        )


class _Backend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _PlainStream(
            self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        )


class _PlainStream(httpcore.NetworkStream):
    """Before TLS, or without it."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return TlsStream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class TlsStream(_PlainStream):
    """`is_readable` only when there is data or the end. Any thread may ask for it; whoever uses
    the connection holds `_lock`, since OpenSSL bears one at a time."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self._early = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with self._lock:
            early, self._early = self._early, b""
            return early or self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with self._lock:
            self._inner.write(buffer, timeout)

    def get_extra_info(self, info: str) -> Any:
        if info != "is_readable":
            return self._inner.get_extra_info(info)
        if not self._lock.acquire(blocking=False):
            return False  # it is in use
        try:
            if self._early:
                return True
            return self._inner.get_extra_info(info) and self._is_more_than_a_ticket()
        finally:
            self._lock.release()

    def _is_more_than_a_ticket(self) -> bool:
        connection = self._inner.get_extra_info("socket")
        try:
            connection.settimeout(0)
            self._early = connection.recv(1)  # OpenSSL takes tickets on the way
        except ssl.SSLWantReadError:
            return False
        except OSError:
            pass  # broken, which is an end
        return True
