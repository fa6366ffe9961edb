"""Bodies of requests: one document taken whole within a size and a time, or a stream in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from orchestrator.errors import BodyTooLargeError, BodyTooSlowError

_PATIENCE_S = 30.0
_SILENCE_S = 60.0
_PIECE_BYTES = 1024**2


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


async def in_large_pieces(
    request: Request, write: Callable[[bytes], None], *, after_silence: str
) -> None:
    """Hand a body of any length to `write`, in a thread, in larger pieces than the network's.

    What came before it broke off is handed over too. Raises BodyTooSlowError where nothing comes
    for long, whose next step is `after_silence`, and ClientDisconnect.
    """
    gathered = bytearray()
    broken: ClientDisconnect | None = None
    with anyio.CancelScope() as silence:
        silence.deadline = anyio.current_time() + _SILENCE_S
        try:
            async for piece in request.stream():
                silence.deadline = math.inf
                gathered += piece
                if len(gathered) >= _PIECE_BYTES:
                    whole, gathered = bytes(gathered), bytearray()
                    await run_in_threadpool(write, whole)
                silence.deadline = anyio.current_time() + _SILENCE_S
        except ClientDisconnect as error:
            broken = error
    await run_in_threadpool(write, bytes(gathered))
    if broken is not None:
        raise broken
    if silence.cancelled_caught:
        raise BodyTooSlowError(f"Nothing came for {_SILENCE_S:.0f} s.", next_step=after_silence)


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
