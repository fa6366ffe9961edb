"""The door of the people's REST: who asks, and whether his role lets him.

`Host` must be one of ours and `Origin`, if there is one, must agree with it, so that no page in a
browser can be made to speak for its reader (DNS rebinding, CSRF). Which role may do what stands in
`orchestrator.accounts.rules`.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.accounts.identity import IDENTITY, Identity, asked_by
from orchestrator.accounts.recognition import Recognition, has_csrf_token
from orchestrator.accounts.rules import OWN_PASSWORD, SAFE_METHODS, STREAMS, Rule, rule_for
from orchestrator.accounts.service import Accounts
from orchestrator.accounts.sessions import CSRF_HEADER
from orchestrator.audit.log import AuditLog
from orchestrator.audit.requests import RequestRecorder
from orchestrator.bodies import received_whole
from orchestrator.errors import AccessError, NobodyError, OrchestratorError, StrangeHostError
from orchestrator.statuses import problem_of
from problem_details.rest import answer
from trust.files import write_secret


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
    write_secret(file, f"{token}\n".encode())
    return token


class LoopbackAccess:
    """ASGI middleware: Host and Origin, who asks, whether his role covers it, and its record."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        allowed_hosts: Collection[str],
        accounts: Accounts | None = None,
        audit: AuditLog | None = None,
        max_document_bytes: int = 1024**2,
    ) -> None:
        """`token` is that of the token file. Without `accounts` nobody else is known."""
        self._app = app
        self._recognition = Recognition(token, accounts)
        self._recorder = RequestRecorder(audit) if audit is not None else None
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._max_document_bytes = max_document_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        rule = rule_for(scope["method"], scope["path"])
        identity: Identity | None = None
        app: ASGIApp = self._app
        try:
            self._check_origin(headers)
            if rule.role is not None:
                identity = await run_in_threadpool(self._recognition.identity_of, headers)
                scope[IDENTITY] = identity
                _check_role(identity, rule, headers)
            if scope["method"] not in SAFE_METHODS and rule.endpoint not in STREAMS:
                receive = await received_whole(receive, headers, self._max_document_bytes)
        except OrchestratorError as error:
            app = _refusal(error)
        with asked_by(identity):
            if self._recorder is not None and self._recorder.is_wanted(rule, identity):
                await self._recorder.answer(app, scope, receive, send, rule=rule, identity=identity)
            else:
                await app(scope, receive, send)

    def _check_origin(self, headers: Headers) -> None:
        if _name(headers.get("host", "")) not in self._hosts:
            raise StrangeHostError(
                "The Host of this request is not a name of this service.",
                next_step="Use one of the names in allowed_hosts.",
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower():
            raise AccessError(
                "The request comes from a page of another origin.",
                next_step="Open this service's own pages.",
            )


def _check_role(identity: Identity | None, rule: Rule, headers: Headers) -> None:
    assert rule.role is not None
    if identity is None:
        raise NobodyError(
            "The request has no valid token, and no session that goes on.",
            next_step="Send `Authorization: Bearer TOKEN`, with the token of the token file or "
            "one of `qnfv token create`; or sign in again.",
        )
    if identity.must_change_password and rule.endpoint not in OWN_PASSWORD:
        raise AccessError(
            "Your password was set by somebody else.",
            next_step="Set one of your own first (PUT /api/v1/me/password).",
            must_change_password=True,
        )
    if not identity.role.covers(rule.role):
        raise AccessError(
            f"{rule.endpoint} is for the role {rule.role}; {identity.name} is {identity.role}.",
            next_step="Ask an administrator to do it, or for that role.",
        )
    if rule.changes and not has_csrf_token(identity, headers):
        raise AccessError(
            "The request does not prove that it comes from this session's own page.",
            next_step=f"Reload the page; programs send {CSRF_HEADER} or use a token.",
        )


def _refusal(error: OrchestratorError) -> ASGIApp:
    problem = problem_of(error)
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else None
    return answer(problem, headers)


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()
