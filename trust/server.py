"""A FastAPI service behind mutual TLS: it learns its caller's name and refuses strangers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from fastapi import FastAPI, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from trust.errors import NotAllowedError
from trust.identity import Identity, Role
from trust.pki import Credentials, tls_context

_EXTENSION = "qnfv.peer"


class PeerCertificateProtocol(H11Protocol):
    """uvicorn does not hand the peer's certificate to the application; this does.

    It overrides an internal class of uvicorn, so `tests/integration/trust` guards it.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        peer = Identity.from_peer_certificate(tls.getpeercert() if tls else None)
        inner = self.app

        async def with_peer(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[_EXTENSION] = peer
            await inner(scope, receive, send)

        self.app = cast(Any, with_peer)


def caller_of(request: Request) -> Identity | None:
    """Whom the caller's certificate names; None if it names none of our services."""
    peer = request.scope.get("extensions", {}).get(_EXTENSION)
    return peer if isinstance(peer, Identity) else None


def require_role(*roles: Role) -> Callable[[Request], Identity]:
    """A FastAPI dependency: the caller, who must have one of `roles`."""

    def caller(request: Request) -> Identity:
        peer = caller_of(request)
        if peer is None or peer.role not in roles:
            who = f"The certificate of {peer.dns_name}" if peer else "This caller's certificate"
            allowed = ", ".join(role.value for role in roles)
            raise NotAllowedError(
                f"{who} may not do this; the role must be one of: {allowed}.",
                next_step="Use a certificate that the authority issued for that role.",
            )
        return peer

    return caller


def mutual_tls_server(
    app: FastAPI, *, host: str, port: int, credentials: Credentials
) -> uvicorn.Server:
    """A server ready for `.run()`; it listens on `host:port`, TLS 1.3 with client certificates."""

    def context(*_: object) -> ssl.SSLContext:
        return tls_context(credentials, server=True)

    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=PeerCertificateProtocol,
            ssl_context_factory=context,
            log_config=None,
            access_log=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
    )
