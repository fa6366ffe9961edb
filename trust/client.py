"""An HTTP client that proves itself and insists on talking to one named service."""

from __future__ import annotations

import ssl
import threading

import httpx

from trust.contexts import LiveContext
from trust.credentials import Credentials
from trust.identity import Identity


class _NamedPeer(httpx.BaseTransport):
    """Checks the server's certificate against the service's own name, not against its address.

    When our files change (renewed, or somebody was revoked), new connections are made.
    """

    def __init__(self, credentials: Credentials, peer: Identity) -> None:
        self._live = LiveContext(credentials, server=False)
        self._name = peer.dns_name
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._inner: httpx.HTTPTransport | None = None
        self._transport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "sni_hostname": self._name}
        return self._transport().handle_request(request)

    def close(self) -> None:
        with self._lock:
            if self._inner is not None:
                self._inner.close()

    def _transport(self) -> httpx.HTTPTransport:
        with self._lock:
            # Asked inside: whoever asked earlier must not bring back an older one.
            context = self._live.current
            if self._inner is None or context is not self._context:
                # Answers that are still read keep the old one alive as long as they need it.
                self._context, self._inner = context, httpx.HTTPTransport(verify=context)
            return self._inner


def open_client(
    base_url: str, *, credentials: Credentials, peer: Identity, timeout_s: float = 10.0
) -> httpx.Client:
    """A client for the service `peer` at `base_url` (https). Thread-safe, close it after use."""
    return httpx.Client(
        base_url=base_url,
        transport=_NamedPeer(credentials, peer),
        timeout=httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)),
    )
