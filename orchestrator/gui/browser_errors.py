"""Refusals and errors as pages, for those who read them in a browser.

A problem document that answers a navigation (`Accept: text/html`) becomes a page with the same
status; where a session is missing, the browser is sent to sign in and back. Programs, and scripts
of pages, get the problem itself.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.accounts.identity import IDENTITY, asked_by
from orchestrator.accounts.rules import rule_for
from orchestrator.gui.pages import Pages
from orchestrator.gui.return_path import path_of, sign_in_path
from problem_details.answers import MEDIA_TYPE

_NO_SUCH_PAGE = {
    "status": 404,
    "title": "There is no such page",
    "detail": "It may have been removed, or the address was cut short.",
    "next_step": "",
}
PASSWORD_PAGE = "/password"  # noqa: S105


class BrowserErrors:
    """ASGI middleware around all that may answer with a problem."""

    def __init__(self, app: ASGIApp, pages: Pages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "hx-request" in headers:
            await self._app(scope, receive, _sending_to_sign_in(headers, send))
        elif scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            await _AsPage(self._app, self._pages, scope, send)(scope, receive)
        else:
            await self._app(scope, receive, send)


def _sending_to_sign_in(headers: Headers, send: Send) -> Send:
    """Of a page whose session is over, the next thing it asks for leads to sign-in."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 401:
            here = path_of(headers.get("hx-current-url", "/"))
            MutableHeaders(scope=message)["HX-Redirect"] = sign_in_path(here)
        await send(message)

    return send_on


class _AsPage:
    """Holds a problem document back until it is whole, and sends a page in its place."""

    def __init__(self, app: ASGIApp, pages: Pages, scope: Scope, send: Send) -> None:
        self._app = app
        self._pages = pages
        self._scope = scope
        self._send = send
        self._body: bytearray | None = None

    async def __call__(self, scope: Scope, receive: Receive) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                if kind.startswith(MEDIA_TYPE):
                    self._body = bytearray()
                    return
            if self._body is None:
                await self._send(message)
                return
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._answer(json.loads(self._body), receive)

        await self._app(scope, receive, send)

    async def _answer(self, problem: dict[str, Any], receive: Receive) -> None:
        request = Request(self._scope, receive)
        path = self._scope["path"]
        query = self._scope["query_string"].decode("latin-1")
        here = f"{path}?{query}" if query else path
        if problem["status"] == 401:
            response: Any = RedirectResponse(sign_in_path(here), status_code=303)
        elif problem.get("must_change_password"):
            response = RedirectResponse(
                sign_in_path(here).replace("/sign-in", PASSWORD_PAGE, 1), status_code=303
            )
        else:
            if not rule_for("GET", path).is_listed:
                problem |= _NO_SUCH_PAGE
            with asked_by(self._scope.get(IDENTITY)):
                status = problem["status"]
                response = self._pages.answer(request, "problem.html", problem, status=status)
        await response(self._scope, receive, self._send)
