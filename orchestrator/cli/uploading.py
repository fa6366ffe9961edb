"""An image on its way into the catalogue, over as many connections as it takes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from orchestrator.cli import show
from orchestrator.cli.errors import ClientError, RefusedError, UnreachableError

if TYPE_CHECKING:
    from orchestrator.cli.client import OrchestratorClient

_PIECE_BYTES = 1024 * 1024
_TRIES, _PAUSE_S = 10, 1.0
"""After a break, as long as nothing more arrives."""
_STANDS_ELSEWHERE = "upload-offset"
"""So it is refused when, after a break, nobody could be asked yet how far it is."""


def upload(
    client: OrchestratorClient,
    file: Path,
    name: str,
    project: str | None = None,
    *,
    is_shown: bool = True,
) -> dict[str, Any]:
    """Send `file`, and go on where a connection broke; the catalogue's view of the image.

    An upload of the same name and size that was begun earlier, and broke off, is gone on with: its
    content is compared by its digest at the end. Raises UnreachableError when nothing arrives any
    more, or RefusedError.
    """
    size = file.stat().st_size
    with _bar(is_shown) as bar:
        task = bar.add_task("reading", total=size)
        sha256 = _sha256(file, lambda count: bar.advance(task, count))
        bar.reset(task, description="sending")
        wish = {"name": name, "size_bytes": size, "sha256": sha256, "project": project}
        begun = _begun(client, wish)
        offset = begun["offset_bytes"]
        tries = 0
        while True:
            bar.update(task, completed=offset)
            try:
                client.send_piece(
                    begun["upload_id"],
                    offset,
                    _from(file, offset, lambda count: bar.advance(task, count)),
                )
                break
            except (UnreachableError, RefusedError) as error:
                if isinstance(error, RefusedError) and error.problem.slug != _STANDS_ELSEWHERE:
                    raise
                before, offset = offset, _offset(client, begun["upload_id"], offset)
                tries = tries + 1 if offset == before else 0
                if tries == _TRIES:
                    raise
                threading.Event().wait(_PAUSE_S)
    document = client.get(f"/api/v1/uploads/{begun['upload_id']}")
    image: dict[str, Any] = client.get(f"/api/v1/images/{document['image']}")
    return image


def _begun(client: OrchestratorClient, wish: dict[str, Any]) -> dict[str, Any]:
    same = ("name", "size_bytes", "sha256")
    for one in client.get("/api/v1/uploads"):
        if all(one[key] == wish[key] for key in same):
            return dict(one)
    begun: dict[str, Any] = client.post("/api/v1/uploads", wish)
    return begun


def _offset(client: OrchestratorClient, upload_id: str, otherwise: int) -> int:
    """Where to go on; `otherwise` while nobody says."""
    try:
        return int(client.get(f"/api/v1/uploads/{upload_id}")["offset_bytes"])
    except UnreachableError:
        return otherwise


def _from(file: Path, offset: int, advance: Callable[[int], None]) -> Iterator[bytes]:
    try:
        with file.open("rb") as handle:
            handle.seek(offset)
            while piece := handle.read(_PIECE_BYTES):
                yield piece
                advance(len(piece))
    except OSError as error:
        raise ClientError(
            f"{file} cannot be read: {error.strerror or error}.", next_step="Look at the file."
        ) from error


def _sha256(file: Path, advance: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    for piece in _from(file, 0, advance):
        digest.update(piece)
    return digest.hexdigest()


def _bar(is_shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=show.errors,
        transient=True,
        disable=not (is_shown and show.errors.is_terminal),
    )
