"""The body of a request, taken whole within a limit."""

from __future__ import annotations

from fastapi import Request

from trust.errors import TrustError


async def body_within(request: Request, most_bytes: int, too_large: TrustError) -> bytes:
    """Raises `too_large` as soon as more comes than `most_bytes`."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > most_bytes:
            raise too_large
    return body
