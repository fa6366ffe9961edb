"""A FastAPI service behind mutual TLS: it learns its caller's name and refuses strangers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from fastapi import FastAPI, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from problem_details import Problem, ProblemError
from problem_details.rest import answer
from trust.contexts import LiveContext
from trust.credentials import Credentials
from trust.delivery import add_delivery
from trust.errors import CredentialsError, NotAllowedError
from trust.identity import Identity, Role
from trust.revocation import Revocations

_EXTENSION = "qnfv.peer"


class PeerCertificateProtocol(H11Protocol):
    """uvicorn does not hand the peer's certificate to the application; this does.

    It overrides an internal class of uvicorn, so `tests/integration/trust` guards it.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert() if tls else None
        inner = self.app

        async def with_peer(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[_EXTENSION] = certificate
            await inner(scope, receive, send)

        self.app = cast(Any, with_peer)


class _PeerCheck:
    """ASGI middleware: each request's certificate, also on a connection that stands for long."""

    def __init__(self, app: Any, credentials: Credentials) -> None:
        self._app = app
        self._allowed = frozenset(Identity.parse(peer) for peer in credentials.allowed_peers)
        self._revocations = None
        if credentials.revocations is not None:
            self._revocations = Revocations(credentials.revocations, credentials.authority)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope.get("extensions", {}).get(_EXTENSION))
            except CredentialsError as error:
                await answer(Problem.of(error, 503))(scope, receive, send)
                return
            except ProblemError as error:
                await answer(Problem.of(error, 403))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, certificate: dict[str, Any] | None) -> None:
        if certificate is None:  # no connection ever comes without one
            return
        peer = Identity.from_peer_certificate(certificate)
        if self._allowed and peer not in self._allowed:
            raise NotAllowedError(
                f"{peer.dns_name if peer else 'This certificate'} is not on the list of those who"
                " may call this service.",
                next_step="Add it to `allowed_peers` of the service's credentials if it should.",
            )
        serial = int(certificate.get("serialNumber", "0"), 16)
        if self._revocations is not None and self._revocations.is_revoked(serial):
            raise NotAllowedError(
                f"The certificate of {peer.dns_name if peer else 'this caller'} was revoked.",
                next_step="Have a new one issued, if the caller is to be trusted again.",
            )


def caller_of(request: Request) -> Identity | None:
    """Whom the caller's certificate names; None if it names none of our services."""
    certificate = request.scope.get("extensions", {}).get(_EXTENSION)
    return Identity.from_peer_certificate(certificate)


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
    """A server ready for `.run()`; it listens on `host:port`, TLS 1.3 with client certificates.

    It takes lists of revoked certificates from whoever it lets in (`trust.delivery`).
    """
    add_delivery(app, credentials)

    def context(*_: object) -> ssl.SSLContext:
        return LiveContext(credentials, server=True).for_listening()

    return uvicorn.Server(
        uvicorn.Config(
            _PeerCheck(app, credentials),
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
