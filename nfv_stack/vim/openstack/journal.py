"""Which ids at the cloud are ours: written down, to the disk, before they exist there.

One small file an id, so that no crash can spoil more than the one being written.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from nfv_stack.errors import VimRefusedError


@dataclass(frozen=True)
class JournaledImage:
    """An image record at Glance. Without `sha512` it was never verified, and must not be used."""

    glance_id: str
    vim_image_id: str
    size: int
    sha512: str | None = None
    disk_bytes: int = 0
    """What the disk measures inside the guest."""


@dataclass(frozen=True)
class JournaledServer:
    instance_id: str
    server_id: str


class Journal:
    """Folders `images` and `servers`. Its writes are atomic and synced."""

    def __init__(self, folder: Path) -> None:
        self._images = folder / "images"
        self._servers = folder / "servers"
        for place in (self._images, self._servers):
            place.mkdir(parents=True, exist_ok=True)
            for draft in place.glob("*.part"):
                draft.unlink()

    def images(self) -> list[JournaledImage]:
        found = []
        for file in sorted(self._images.glob("*.json")):
            with suppress(FileNotFoundError):  # forgotten by another thread just now
                found.append(JournaledImage(**_read(file)))
        return found

    def images_of(self, vim_image_id: str) -> list[JournaledImage]:
        return [image for image in self.images() if image.vim_image_id == vim_image_id]

    def record_image(self, image: JournaledImage) -> None:
        _write(self._images / f"{image.glance_id}.json", asdict(image))

    def forget_image(self, image: JournaledImage) -> None:
        (self._images / f"{image.glance_id}.json").unlink(missing_ok=True)

    def server_of(self, instance_id: UUID) -> str | None:
        with suppress(FileNotFoundError):
            return JournaledServer(**_read(self._servers / f"{instance_id}.json")).server_id
        return None

    def record_server(self, instance_id: UUID, server_id: str) -> None:
        server = JournaledServer(str(instance_id), server_id)
        _write(self._servers / f"{instance_id}.json", asdict(server))

    def forget_server(self, instance_id: UUID) -> None:
        (self._servers / f"{instance_id}.json").unlink(missing_ok=True)


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return content


def _write(file: Path, content: dict[str, Any]) -> None:
    draft = file.with_name(f"{file.stem}.{secrets.token_hex(4)}.part")
    try:
        with draft.open("w", encoding="utf-8") as handle:
            json.dump(content, handle)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise VimRefusedError(
            f"The journal {file} cannot be written: {error.strerror or error}.",
            next_step="Free space below the stack's state folder, then repeat.",
        ) from error
