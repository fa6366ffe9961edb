"""`/api/v1/images`: the catalogue."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from orchestrator.audit.subjects import name_subjects
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.errors import ImageRefusedError
from orchestrator.store.tables import ImageRow

_QUEUED_PIECES = 16
_LOOK_EVERY_S = 0.01


class ImageView(BaseModel):
    digest: str
    name: str
    format: str
    size_bytes: int
    vim_image_id: str
    added_at: datetime
    deployments: int
    projects: list[str]
    """Yours that own it."""


def images_router(
    catalogue: Catalogue,
    users: Callable[[Iterable[bytes]], dict[bytes, int]],
    packages: Callable[[bytes], int] | None = None,
) -> APIRouter:
    """`users`: how many deployments need each image; `packages`: how many VNF packages have it."""
    router = APIRouter(prefix="/api/v1/images", tags=["images"])

    def views(rows: list[ImageRow]) -> list[ImageView]:
        projects = catalogue.owners_of(row.digest for row in rows)
        deployments = users(row.digest for row in rows)
        return [
            ImageView(
                digest=row.digest.hex(),
                name=row.name,
                format=row.format,
                size_bytes=row.size,
                vim_image_id=row.vim_image_id,
                added_at=row.added_at,
                deployments=deployments[row.digest],
                projects=projects[row.digest],
            )
            for row in rows
        ]

    def view(row: ImageRow) -> ImageView:
        return views([row])[0]

    @router.post("", status_code=201)
    async def add(
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=64)],
        project: Annotated[str | None, Query(max_length=63)] = None,
    ) -> ImageView:
        """Take in the request's body: a docker-save archive or a disk."""
        pieces: queue.Queue[bytes | Exception | None] = queue.Queue(_QUEUED_PIECES)
        taking = asyncio.create_task(
            run_in_threadpool(lambda: view(catalogue.add(_until_end(pieces), name, project)))
        )
        try:
            await _feed(request, pieces, taking)
        except ClientDisconnect:
            await _hand(_broken_off(), pieces, taking)
        added = await taking
        # Whose it is: others who own the same do not learn who else does.
        owner = await run_in_threadpool(catalogue.chosen_project, project)
        name_subjects(image=added.digest, project=owner)
        return added

    @router.get("")
    def images() -> list[ImageView]:
        return views(catalogue.all())

    @router.get("/{reference}")
    def image(reference: str) -> ImageView:
        return view(catalogue.get(reference))

    @router.delete("/{reference}", status_code=204)
    def remove(reference: str) -> Response:
        catalogue.remove(reference, users=lambda digest: users([digest])[digest], packages=packages)
        return Response(status_code=204)

    return router


async def _feed(
    request: Request,
    pieces: queue.Queue[bytes | Exception | None],
    taking: asyncio.Task[ImageView],
) -> None:
    """Hand the body over piece by piece, until its end or until nobody takes any more."""
    async for piece in request.stream():
        await _hand(piece, pieces, taking)
        if taking.done():
            return
    await _hand(None, pieces, taking)


async def _hand(
    piece: bytes | Exception | None,
    pieces: queue.Queue[bytes | Exception | None],
    taking: asyncio.Task[ImageView],
) -> None:
    while not taking.done():
        try:
            pieces.put_nowait(piece)
            return
        except queue.Full:
            await asyncio.wait({taking}, timeout=_LOOK_EVERY_S)


def _until_end(pieces: queue.Queue[bytes | Exception | None]) -> Iterator[bytes]:
    while (piece := pieces.get()) is not None:
        if isinstance(piece, Exception):
            raise piece
        yield piece


def _broken_off() -> ImageRefusedError:
    return ImageRefusedError(
        "The upload broke off before its end.", next_step="Add the image again."
    )
