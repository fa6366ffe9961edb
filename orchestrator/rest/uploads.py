"""`/api/v1/uploads`: images, and the content of VNF packages, that come over more than one
connection, in the manner of tus 1.0."""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from orchestrator.accounts.identity import Role, asking
from orchestrator.audit.subjects import name_subjects
from orchestrator.bodies import in_large_pieces
from orchestrator.projects.tables import DEFAULT
from orchestrator.uploads.errors import UploadBrokenOffError, UploadFormError
from orchestrator.uploads.receiver import Receiver
from orchestrator.uploads.service import Announced, Uploads
from orchestrator.uploads.tables import UploadRow

_PIECE_TYPE = "application/offset+octet-stream"
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Offset = Annotated[int, Header(alias="Upload-Offset", ge=0, lt=2**63)]


class UploadRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    """Of the image in the catalogue; of a package's content a name for people."""
    vnf_package: UUID | None = None
    """The CREATED package whose content it is; without one it is an image for the catalogue."""
    project: str | None = Field(default=None, max_length=63)
    """Whose the image shall be; it need not be said by who has one project, nor for a
    package."""
    size_bytes: int = Field(ge=1, lt=2**63)
    sha256: Digest | None = None
    """Of the file as it is sent; where it is known, what comes is checked against it."""
    blake3: Digest | None = None


class UploadView(BaseModel):
    upload_id: UUID
    name: str
    size_bytes: int
    sha256: str | None
    """As announced."""
    offset_bytes: int
    """So many are here; the next piece goes on there."""
    created_at: datetime
    expires_at: datetime
    image: str | None
    """Digest of the catalogue's image, once it is whole."""
    vnf_package: UUID | None
    """Whose content it is."""
    finished_at: datetime | None
    """When all of it was handed over to the catalogue, or to the package, which tells more."""


def uploads_router(uploads: Uploads) -> APIRouter:
    router = APIRouter(prefix="/api/v1/uploads", tags=["images"])

    @router.post("", status_code=201)
    def begin(wish: UploadRequest, response: Response) -> UploadView:
        announced = Announced(
            wish.name,
            wish.size_bytes,
            bytes.fromhex(wish.sha256) if wish.sha256 else None,
            bytes.fromhex(wish.blake3) if wish.blake3 else None,
            wish.project,
            wish.vnf_package,
        )
        row = uploads.begin(_asker(), announced)
        name_subjects(upload=row.upload_id)
        if row.vnf_package_id is not None:
            name_subjects(vnf_package=row.vnf_package_id)
        response.headers["Location"] = f"/api/v1/uploads/{row.upload_id}"
        response.headers.update(_headers(uploads, row))
        return _view(uploads, row)

    @router.get("")
    def unfinished() -> list[UploadView]:
        """Your own that are not whole yet."""
        return [_view(uploads, row) for row in uploads.all(_asker())]

    @router.get("/{upload_id}")
    def upload(upload_id: UUID) -> UploadView:
        return _view(uploads, _yours(uploads, upload_id))

    @router.head("/{upload_id}")
    def stand(upload_id: UUID) -> Response:
        """Where to go on: `Upload-Offset`."""
        return Response(headers=_headers(uploads, _yours(uploads, upload_id)))

    @router.patch("/{upload_id}", status_code=204)
    async def go_on(upload_id: UUID, request: Request, offset: Offset) -> Response:
        """Append the body. With the last byte the image is checked and comes into the catalogue, or
        the package is processed.

        What arrived before a connection broke is kept. A piece of no bytes at the end asks again
        for the check.
        """
        if request.headers.get("content-type") != _PIECE_TYPE:
            raise UploadFormError(
                "The body of a piece is bytes at an offset.",
                next_step=f"Send `Content-Type: {_PIECE_TYPE}`.",
            )
        row = await run_in_threadpool(_yours, uploads, upload_id)
        receiver = await run_in_threadpool(uploads.receive, row, offset)
        try:
            await _take(request, receiver)
        finally:
            await run_in_threadpool(receiver.close)
        row = await run_in_threadpool(uploads.finish, row)
        if row.image_digest is not None:
            name_subjects(image=row.image_digest.hex(), project=row.project or DEFAULT)
        if row.vnf_package_id is not None:
            name_subjects(vnf_package=row.vnf_package_id)
        headers = await run_in_threadpool(_headers, uploads, row)
        return Response(status_code=204, headers=headers)

    @router.delete("/{upload_id}", status_code=204)
    def give_up(upload_id: UUID) -> Response:
        uploads.give_up(_yours(uploads, upload_id))
        return Response(status_code=204)

    return router


async def _take(request: Request, receiver: Receiver) -> None:
    next_step = "Ask with HEAD where the upload stands, and go on there."
    try:
        await in_large_pieces(request, receiver.write, after_silence=next_step)
    except ClientDisconnect as error:
        raise UploadBrokenOffError(
            f"The connection ended at byte {receiver.offset}.", next_step=next_step
        ) from error


def _asker() -> str:
    who = asking()
    assert who is not None  # the rules let nobody else in
    return who.account


def _yours(uploads: Uploads, upload_id: UUID) -> UploadRow:
    """Administrators see those of others too."""
    who = asking()
    is_administrator = who is not None and who.role is Role.ADMINISTRATOR
    return uploads.get(upload_id, None if is_administrator else _asker())


def _headers(uploads: Uploads, row: UploadRow) -> dict[str, str]:
    return {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": str(uploads.offset(row)),
        "Upload-Length": str(row.size),
        "Upload-Expires": format_datetime(uploads.expires_at(row), usegmt=True),
    }


def _view(uploads: Uploads, row: UploadRow) -> UploadView:
    return UploadView(
        upload_id=row.upload_id,
        name=row.name,
        size_bytes=row.size,
        sha256=bytes(row.sha256).hex() if row.sha256 else None,
        offset_bytes=uploads.offset(row),
        created_at=row.created_at,
        expires_at=uploads.expires_at(row),
        image=row.image_digest.hex() if row.image_digest else None,
        vnf_package=row.vnf_package_id,
        finished_at=row.finished_at,
    )
