"""Writes the record of a request when its answer is known, before that is sent."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.accounts.identity import Identity
from orchestrator.accounts.rules import SIGN_IN, Rule
from orchestrator.audit.log import AuditLog
from orchestrator.audit.record import Entry
from orchestrator.audit.subjects import collecting_subjects

log = structlog.get_logger(__name__)
_UNRECORDED = (429,)
"""Tries beyond the limit: whoever floods shall not fill the audit."""


class RequestRecorder:
    """Records requests that may change something and that somebody is behind."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def is_wanted(self, rule: Rule, identity: Identity | None) -> bool:
        return rule.changes and (identity is not None or rule.endpoint == SIGN_IN)

    async def answer(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        rule: Rule,
        identity: Identity | None,
    ) -> None:
        """Let `app` answer, and record how."""
        recorded = False

        async def record(status: int) -> None:
            nonlocal recorded
            recorded = True
            if status not in _UNRECORDED:
                entry = _entry(scope, rule, identity, status, {**rule.subjects, **subjects})
                await self._write(entry)

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start" and not recorded:
                await record(message["status"])
            await send(message)

        with collecting_subjects() as subjects:
            try:
                await app(scope, receive, send_recorded)
            finally:
                if not recorded:  # it failed, or nobody waits for the answer any more
                    with anyio.CancelScope(shield=True):
                        await record(500)

    async def _write(self, entry: Entry) -> None:
        try:
            await run_in_threadpool(self._audit.append, entry)
        except SQLAlchemyError as error:
            log.error("a change is not in the audit", action=entry.action, why=str(error))


def _entry(
    scope: Scope,
    rule: Rule,
    identity: Identity | None,
    status: int,
    subjects: Mapping[str, str],
) -> Entry:
    who, role, via = "nobody", "", "none"
    if identity is not None:
        who, role, via = identity.name, identity.role.value, identity.via.value
    elif status < 400 and "user" in subjects:
        who = subjects["user"]  # he just signed in
    return Entry(
        who=who,
        role=role,
        via=via,
        source=address_of(scope),
        action=rule.endpoint,
        outcome=str(status),
        subjects=subjects,
    )


def address_of(scope: Scope) -> str:
    """The address at the other end of the connection; no header is believed."""
    client = scope.get("client")
    return str(client[0]) if client else ""
