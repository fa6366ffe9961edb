"""Who may use REST until there are accounts: whoever can read the token file, on loopback.

Every request needs the token. `Host` must be one of ours and `Origin`, if there is one, must agree
with it, so that no page in a browser can be made to speak for its reader (DNS rebinding, CSRF).
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.errors import AccessError
from problem_details import Problem
from problem_details.rest import answer

OPEN_PATHS = frozenset({"/api/v1/health"})


def load_or_make_token(file: Path) -> str:
    """The token in `file`; a new one is made where there is none, readable by its owner alone.

    An empty file, as a full disk leaves it, holds no token: it would let everybody in.
    """
    try:
        token = file.read_text().strip()
    except FileNotFoundError:
        token = ""
    if token:
        return token
    file.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_urlsafe(32)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(token + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(file)
    return token


class LoopbackAccess:
    """ASGI middleware: Host, Origin and token of each request."""

    def __init__(self, app: ASGIApp, *, token: str, allowed_hosts: Collection[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refused = self._refusal(Headers(scope=scope), scope["path"])
            if refused is not None:
                error, status = refused
                headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
                await answer(Problem.of(error, status), headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers, path: str) -> tuple[AccessError, int] | None:
        host = _name(headers.get("host", ""))
        if host not in self._hosts:
            return (
                AccessError(
                    "The Host of this request is not a name of this service.",
                    next_step="Use one of the names in allowed_hosts.",
                ),
                421,
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower():
            return (
                AccessError(
                    "The request comes from a page of another origin.",
                    next_step="Open this service's own pages.",
                ),
                403,
            )
        if path in OPEN_PATHS or self._has_token(headers):
            return None
        return (
            AccessError(
                "The request has no valid token.",
                next_step="Send `Authorization: Bearer TOKEN` with the token of the token file.",
            ),
            401,
        )

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        token = value if scheme.lower() == "bearer" else headers.get("x-auth-token", "")
        return hmac.compare_digest(token.strip().encode(), self._token)


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()
