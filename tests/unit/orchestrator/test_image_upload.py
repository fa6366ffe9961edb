"""An upload that breaks off while the catalogue refuses it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Any, cast

from fastapi import FastAPI

from orchestrator.errors import ImageRefusedError
from orchestrator.rest.images import images_router
from orchestrator.statuses import STATUS_OF
from problem_details import rest


class FullDisk:
    """A catalogue that gives up without taking what was queued for it."""

    def __init__(self) -> None:
        self.client_left = threading.Event()

    def add(self, pieces: Iterable[bytes], name: str, project: str | None) -> None:
        assert self.client_left.wait(30)
        raise ImageRefusedError("The disk is full.", next_step="Free some space.")


def test_an_upload_that_breaks_off_while_it_is_refused_holds_nothing() -> None:
    catalogue = FullDisk()
    app = FastAPI()
    rest.install(app, STATUS_OF)
    app.include_router(images_router(cast("Any", catalogue), lambda _: {}))
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/api/v1/images", "raw_path": b"/api/v1/images",
        "query_string": b"name=web", "root_path": "", "headers": [],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    sent: list[int] = []
    left = 16  # as many as are queued at most

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 1
        if left >= 0:
            return {"type": "http.request", "body": b"x", "more_body": True}
        asyncio.get_running_loop().call_later(0.2, catalogue.client_left.set)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    async def main() -> None:
        await asyncio.wait_for(app(scope, receive, send), 10)

    asyncio.run(main())
    assert sent == [422]
