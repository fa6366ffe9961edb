"""Bodies of requests that hold one document: taken whole, within a size and a time."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers
from starlette.types import Message, Receive

from orchestrator.errors import BodyTooLargeError, BodyTooSlowError

_PATIENCE_S = 30.0


async def received_whole(receive: Receive, headers: Headers, limit_bytes: int) -> Receive:
    """A `receive` that gives the whole body at once.

    Raises BodyTooLargeError above `limit_bytes`, before more is taken in, and BodyTooSlowError.
    """
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit_bytes:
        raise _too_large(limit_bytes)
    body = bytearray()
    with anyio.move_on_after(_PATIENCE_S) as time:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return _first({**message}, receive)
            body += message.get("body", b"")
            if len(body) > limit_bytes:
                raise _too_large(limit_bytes)
            if not message.get("more_body", False):
                break
    if time.cancelled_caught:
        raise BodyTooSlowError(
            f"The request's body did not come within {_PATIENCE_S:.0f} s.",
            next_step="Send it again, over a better connection.",
        )
    return _first({"type": "http.request", "body": bytes(body), "more_body": False}, receive)


def _first(message: Message, then: Receive) -> Receive:
    waiting = [message]

    async def receive() -> Message:
        return waiting.pop() if waiting else await then()

    return receive


def _too_large(limit_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"A request's document has at most {limit_bytes} bytes.",
        next_step="Send less at once; images go to /api/v1/images.",
    )
