"""An image, or a VNF package, on its way to the orchestrator, over as many connections as it
takes."""

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

_UPLOADS, _PACKAGES = "/api/v1/uploads", "/vnfpkgm/v1/vnf_packages"
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

    def begun(wish: dict[str, Any]) -> dict[str, Any]:
        before = _before(client, wish, lambda one: one.get("vnf_package") is None)
        return before or dict(client.post(_UPLOADS, {**wish, "project": project}))

    document = _sent(client, file, name, begun, is_shown=is_shown)
    image: dict[str, Any] = client.get(f"/api/v1/images/{document['image']}")
    return image


def upload_package(
    client: OrchestratorClient,
    file: Path,
    name: str,
    project: str | None = None,
    package_id: str | None = None,
) -> str:
    """`upload`, of a VNF package: a new one, or `package_id`, which waits for its content. The id
    of the package, which tells then what becomes of it."""

    def is_the_same(one: dict[str, Any]) -> bool:
        its = one.get("vnf_package")
        return its is not None if package_id is None else its == package_id

    def begun(wish: dict[str, Any]) -> dict[str, Any]:
        if before := _before(client, wish, is_the_same):
            return before
        if package_id is not None:
            return dict(client.post(_UPLOADS, {**wish, "vnf_package": package_id}))
        user_data = {"name": name, **({"project": project} if project else {})}
        made = client.post(_PACKAGES, {"userDefinedData": user_data})["id"]
        try:
            return dict(client.post(_UPLOADS, {**wish, "vnf_package": made}))
        except RefusedError:
            client.delete(f"{_PACKAGES}/{made}")
            raise

    return str(_sent(client, file, name, begun)["vnf_package"])


def _sent(
    client: OrchestratorClient,
    file: Path,
    name: str,
    begin: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    is_shown: bool = True,
) -> dict[str, Any]:
    """The upload, once all of it is there."""
    size = file.stat().st_size
    if size == 0:
        raise ClientError(f"{file} is empty.", next_step="Choose another file.")
    with _bar(is_shown) as bar:
        task = bar.add_task("reading", total=size)
        sha256 = _sha256(file, lambda count: bar.advance(task, count))
        bar.reset(task, description="sending")
        begun = begin({"name": name, "size_bytes": size, "sha256": sha256})
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
    document: dict[str, Any] = client.get(f"{_UPLOADS}/{begun['upload_id']}")
    return document


def _before(
    client: OrchestratorClient, wish: dict[str, Any], is_of: Callable[[dict[str, Any]], bool]
) -> dict[str, Any] | None:
    """An upload of the same that was begun earlier."""
    for one in client.get(_UPLOADS):
        if all(one[key] == wish[key] for key in wish) and is_of(one):
            return dict(one)
    return None


def _offset(client: OrchestratorClient, upload_id: str, otherwise: int) -> int:
    """Where to go on; `otherwise` while nobody says."""
    try:
        return int(client.get(f"{_UPLOADS}/{upload_id}")["offset_bytes"])
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
