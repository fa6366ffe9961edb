"""Headers on every answer, so that a browser does with it what it is meant for and nothing else."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.gui.browser_errors import BrowserErrors
from orchestrator.gui.pages import Pages

SECURITY_HEADERS = {
    # Documents for programs: a page brings a policy of its own.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """ASGI middleware. A header that the answer has already stays as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_guarded)


class GuardedApp(FastAPI):
    """The service's web application; headers and pages are on answers to unexpected errors too."""

    def __init__(self, pages: Pages, **options: Any) -> None:
        super().__init__(**options)
        self._pages = pages

    def build_middleware_stack(self) -> ASGIApp:
        return SecurityHeaders(BrowserErrors(super().build_middleware_stack(), self._pages))
