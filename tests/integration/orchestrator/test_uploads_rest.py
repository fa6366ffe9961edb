"""Uploads over REST: the manner of tus, and a connection that ends in the middle."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from database import open_engine
from orchestrator.access import LoopbackAccess
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.rest.uploads import uploads_router
from orchestrator.settings import UploadsTable
from orchestrator.statuses import STATUS_OF
from orchestrator.store.tables import migrate_orchestrator
from orchestrator.uploads.service import Uploads
from orchestrator.uploads.tables import migrate_uploads
from problem_details import rest
from timekeeping import SystemClock

DISK = bytes(510) + b"\x55\xaa" + secrets.token_bytes(3_000_000)
"""Larger than a document may be, and than what is written at once."""
PIECE = {"Content-Type": "application/offset+octet-stream"}
TOKEN = "t"


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    engine = open_engine(f"sqlite:///{tmp_path / 'o.sqlite'}")
    migrate_orchestrator(engine)
    migrate_uploads(engine)
    yield Catalogue(engine, tmp_path / "catalogue", SystemClock(), max_image_bytes=5_000_000)
    engine.dispose()


@pytest.fixture
def app(catalogue: Catalogue, tmp_path: Path) -> FastAPI:
    folder = tmp_path / "catalogue" / "uploads"
    uploads = Uploads(
        catalogue._engine,
        folder,
        SystemClock(),
        catalogue,
        UploadsTable(),
        max_image_bytes=5_000_000,
    )
    app = FastAPI()
    rest.install(app, STATUS_OF)
    app.include_router(uploads_router(uploads))
    app.add_middleware(
        LoopbackAccess, token=TOKEN, allowed_hosts=["127.0.0.1"], max_document_bytes=1024
    )
    return app


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    client = TestClient(app, base_url="http://127.0.0.1")
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    return client


def begin(client: TestClient, **more: Any) -> str:
    answer = client.post("/api/v1/uploads", json={"name": "disk", "size_bytes": len(DISK), **more})
    assert answer.status_code == 201, answer.text
    assert answer.headers["upload-offset"] == "0"
    return str(answer.headers["location"])


def send(client: TestClient, url: str, offset: int, piece: bytes) -> Any:
    return client.patch(url, content=piece, headers={**PIECE, "Upload-Offset": str(offset)})


def test_an_image_in_pieces(client: TestClient, catalogue: Catalogue) -> None:
    url = begin(client)
    middle = 1_500_001
    answer = send(client, url, 0, DISK[:middle])
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(middle))
    stand = client.head(url)
    assert (stand.headers["upload-offset"], stand.headers["upload-length"]) == (
        str(middle),
        str(len(DISK)),
    )
    assert [upload["offset_bytes"] for upload in client.get("/api/v1/uploads").json()] == [middle]
    assert send(client, url, middle, DISK[middle:]).status_code == 204
    digest = client.get(url).json()["image"]
    assert catalogue.file(bytes.fromhex(digest)).read_bytes() == DISK
    assert client.get("/api/v1/uploads").json() == []
    assert client.delete(url).status_code == 204
    assert client.head(url).status_code == 404
    assert catalogue.get(digest).size == len(DISK)


def test_what_does_not_fit_is_refused_and_nothing_is_lost(client: TestClient) -> None:
    url = begin(client)
    assert send(client, url, 0, DISK[:100]).status_code == 204
    elsewhere = send(client, url, 50, DISK[50:])
    assert (elsewhere.status_code, elsewhere.json()["offset"]) == (409, 100)
    assert send(client, url, 100, DISK).status_code == 413
    assert client.patch(url, content=b"x", headers={"Upload-Offset": "100"}).status_code == 415
    assert client.patch(url, content=b"x", headers=PIECE).status_code == 422
    too_large = {"name": "disk", "size_bytes": 5_000_001}
    assert client.post("/api/v1/uploads", json=too_large).status_code == 413
    offset = int(client.head(url).headers["upload-offset"])
    assert offset >= 100  # of the piece that was too long, what fitted may have been kept
    assert send(client, url, offset, DISK[offset:]).status_code == 204


def test_another_digest_than_announced(client: TestClient, catalogue: Catalogue) -> None:
    url = begin(client, sha256="00" * 32)
    answer = send(client, url, 0, DISK)
    assert answer.status_code == 422
    assert answer.json()["next_step"]
    assert client.head(url).status_code == 404
    assert catalogue.all() == []


def test_a_connection_that_ends_in_the_middle_loses_nothing(
    app: FastAPI, client: TestClient, catalogue: Catalogue
) -> None:
    url = begin(client)
    pieces = [DISK[:1_200_000], DISK[1_200_000:1_300_000]]

    async def receive() -> dict[str, Any]:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": True}
        return {"type": "http.disconnect"}

    sent: list[int] = []

    async def send_back(message: Any) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    headers = {**PIECE, "Upload-Offset": "0", "Host": "127.0.0.1", "X-Auth-Token": TOKEN}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "PATCH",
        "scheme": "http", "path": url, "raw_path": url.encode(), "query_string": b"",
        "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    asyncio.run(asyncio.wait_for(app(scope, receive, send_back), 30))
    assert sent == [400]
    assert client.head(url).headers["upload-offset"] == "1300000"
    assert send(client, url, 1_300_000, DISK[1_300_000:]).status_code == 204
    (image,) = catalogue.all()
    assert catalogue.file(image.digest).read_bytes() == DISK
