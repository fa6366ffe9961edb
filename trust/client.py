"""An HTTP client that proves itself and insists on talking to one named service."""

from __future__ import annotations

import httpx

from trust.identity import Identity
from trust.pki import Credentials, tls_context


class _NamedPeer(httpx.HTTPTransport):
    """Checks the server's certificate against the service's own name, not against its address."""

    def __init__(self, credentials: Credentials, peer: Identity) -> None:
        super().__init__(verify=tls_context(credentials, server=False))
        self._name = peer.dns_name

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "sni_hostname": self._name}
        return super().handle_request(request)


def open_client(
    base_url: str, *, credentials: Credentials, peer: Identity, timeout_s: float = 10.0
) -> httpx.Client:
    """A client for the service `peer` at `base_url` (https). Thread-safe, close it after use."""
    return httpx.Client(
        base_url=base_url,
        transport=_NamedPeer(credentials, peer),
        timeout=httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)),
    )
