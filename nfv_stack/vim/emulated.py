"""The emulated VIM: keeps verified images, serves a page of its own for each instance.

It never executes or unpacks what it was given. It exists so that the whole way of an image can be
shown where no container engine is at hand, and it says so on every page.
"""

from __future__ import annotations

import hashlib
import html
import json
import secrets
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, cast
from uuid import UUID

from nfv_stack.contract.schemas import ImageFormat, InstanceState
from nfv_stack.errors import ImageRejectedError, UnknownInstanceError, VimRefusedError
from nfv_stack.vim.port import (
    ImageSpec,
    InstanceSpec,
    ServiceEndPoint,
    VimCapacity,
    VimDescription,
    VimInstance,
    VimUsage,
)

_INSTANCE_PORT = 8080
_JSON_MAX_BYTES = 8 * 1024 * 1024


class EmulatedVim:
    """One data centre's images and instances under one folder; they outlive this process."""

    def __init__(self, *, data_centre: str, folder: Path | str) -> None:
        self._data_centre = data_centre
        self._images = Path(folder) / "images"
        self._instances = Path(folder) / "instances"
        self._images.mkdir(parents=True, exist_ok=True)
        self._instances.mkdir(parents=True, exist_ok=True)
        for draft in (*self._images.glob("*.part"), *self._instances.glob("*.part")):
            draft.unlink()
        self._lock = threading.Lock()
        self._servers: dict[UUID, ThreadingHTTPServer] = {}
        for file in self._instances.glob("*.json"):
            record = json.loads(file.read_text())
            if not record.get("stopped"):
                self._serve(record)

    def describe(self) -> VimDescription:
        return VimDescription(
            "emulated", "1", frozenset({ImageFormat.DOCKER_ARCHIVE}), emulated=True
        )

    def capacity(self) -> VimCapacity:
        # It executes nothing, so it has neither processors nor memory to give.
        return VimCapacity(instances=len(list(self._instances.glob("*.json"))))

    # --- images -----------------------------------------------------------------------------------

    def has_image(self, vim_image_id: str) -> bool:
        return self._image_file(vim_image_id).exists()

    def place_image(self, spec: ImageSpec, chunks: Iterator[memoryview]) -> str:
        draft = self._images / f"{secrets.token_hex(8)}.part"
        try:
            with _storing():
                file = draft.open("wb", buffering=0)
            with file:
                for chunk in chunks:
                    with _storing():
                        _write_all(file, chunk)
            found = _image_id(draft, spec.size)
            if found != spec.vim_image_id:
                raise ImageRejectedError(
                    f"The stream holds the image {found}, expected was {spec.vim_image_id}.",
                    next_step="The image in the catalogue is damaged; add it again.",
                )
            with _storing():
                draft.replace(self._image_file(found))
        finally:
            draft.unlink(missing_ok=True)
        return spec.vim_image_id

    def remove_image(self, vim_image_id: str, *, found_here: bool = False) -> None:  # noqa: ARG002
        # Its folder is this data centre's alone, so every image in it is ours.
        self._image_file(vim_image_id).unlink(missing_ok=True)

    def _image_file(self, vim_image_id: str) -> Path:
        # The id becomes a file name only through its digest.
        return self._images / f"{hashlib.sha256(vim_image_id.encode()).hexdigest()}.tar"

    # --- instances --------------------------------------------------------------------------------

    def start_instance(self, spec: InstanceSpec) -> VimInstance:
        if not self.has_image(spec.placed_image_id):
            raise VimRefusedError(
                f"The image {spec.placed_image_id} is not here.", next_step="Transfer it again."
            )
        with self._lock:
            if spec.instance_id not in self._servers:
                record = {
                    "instance_id": str(spec.instance_id),
                    "name": spec.name,
                    "image": spec.image_digest.hex(),
                    "started_at": datetime.now(UTC).isoformat(),
                }
                self._record(record)
                self._serve(record)
        instance = self.instance(spec.instance_id)
        assert instance is not None
        return instance

    def instance(self, instance_id: UUID) -> VimInstance | None:
        try:
            record = json.loads(self._instance_file(instance_id).read_text())
        except FileNotFoundError:
            return None
        server = self._servers.get(instance_id)
        ports = () if server is None else (int(server.server_address[1]),)
        return VimInstance(
            vim_instance_id=f"emulated-{instance_id}",
            state=InstanceState.STOPPED if server is None else InstanceState.RUNNING,
            healthy=server is not None,
            end_points=tuple(ServiceEndPoint(_INSTANCE_PORT, "127.0.0.1", p) for p in ports),
            started_at=datetime.fromisoformat(record["started_at"]),
            detail="emulated: the image is kept, not executed",
        )

    def instances(self) -> dict[UUID, VimInstance]:
        known = [UUID(file.stem) for file in self._instances.glob("*.json")]
        views = {instance_id: self.instance(instance_id) for instance_id in known}
        return {instance_id: view for instance_id, view in views.items() if view is not None}

    def stop_instance(self, instance_id: UUID) -> VimInstance:
        with self._lock:
            file = self._instance_file(instance_id)
            if file.exists():
                self._record({**json.loads(file.read_text()), "stopped": True})
        self._end_page(instance_id)
        instance = self.instance(instance_id)
        if instance is None:
            raise UnknownInstanceError(
                f"There is no instance {instance_id} here.",
                next_step="Start it again from its image.",
            )
        return instance

    def remove_instance(self, instance_id: UUID) -> None:
        self._instance_file(instance_id).unlink(missing_ok=True)
        self._end_page(instance_id)

    def _end_page(self, instance_id: UUID) -> None:
        with self._lock:
            server = self._servers.pop(instance_id, None)
        if server is not None:
            server.shutdown()
            server.server_close()

    def _record(self, record: Mapping[str, Any]) -> None:
        """Whole or not at all: it is read again after a crash."""
        file = self._instance_file(UUID(record["instance_id"]))
        draft = file.with_suffix(".part")
        draft.write_text(json.dumps(record))
        draft.replace(file)

    def usage(self, instance_id: UUID) -> VimUsage:  # noqa: ARG002
        # It executes nothing.
        return VimUsage()

    def log(self, instance_id: UUID, *, tail_lines: int = 200) -> str:  # noqa: ARG002
        if not self._instance_file(instance_id).exists():
            return ""
        return "emulated: this instance executes nothing, so it logs nothing\n"

    def close(self) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
        self._servers.clear()

    def _instance_file(self, instance_id: UUID) -> Path:
        return self._instances / f"{instance_id}.json"

    def _serve(self, record: Mapping[str, Any]) -> None:
        page = (
            "<!doctype html><title>Emulated VNF</title>"
            f"<h1>Emulated VNF {html.escape(record['name'])}</h1>"
            f"<p>Data centre {html.escape(self._data_centre)}, image {record['image']}.</p>"
            "<p>This VIM is emulated: the verified image is kept here and not executed.</p>"
        ).encode()
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Page, page))
        server.daemon_threads = True
        self._servers[UUID(record["instance_id"])] = server
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()


class _Page(BaseHTTPRequestHandler):
    def __init__(self, page: bytes, *args: Any) -> None:
        self._page = page
        super().__init__(*args)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self._page)))
        self.end_headers()
        self.wfile.write(self._page)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the slave's own log is structured."""


def _write_all(file: RawIOBase, chunk: memoryview) -> None:
    while chunk:
        chunk = chunk[file.write(chunk) :]


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VimRefusedError(
            f"The image cannot be stored: {error.strerror or error}.",
            next_step="Free space on the data centre's disk, then retry the operation.",
        ) from error


def _image_id(archive: Path, size: int) -> str:
    """The image id of a whole docker-save archive with one untagged image: its config's SHA-256.

    Checks what an engine would: that it ends where it must, and each layer against the config.
    """
    try:
        if archive.stat().st_size != size:
            raise ValueError(f"it has {archive.stat().st_size} bytes instead of {size}")
        with tarfile.open(archive, "r:") as tar:
            (entry,) = json.loads(_content(tar, "manifest.json"))
            if entry["RepoTags"]:
                raise ValueError("it brings names of its own")
            config = _content(tar, entry["Config"])
            diff_ids = json.loads(config)["rootfs"]["diff_ids"]
            if [_layer_digest(tar, name) for name in entry["Layers"]] != diff_ids:
                raise ValueError("its layers are not those that its config names")
    except (tarfile.TarError, KeyError, ValueError, TypeError, EOFError) as error:
        raise ImageRejectedError(
            f"The stream is no docker-save archive: {error}.",
            next_step="The image in the catalogue is damaged; add it again.",
        ) from error
    return f"sha256:{hashlib.sha256(config).hexdigest()}"


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not a plain file")
    return file


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    with _member(tar, name) as file:
        content = file.read(_JSON_MAX_BYTES + 1)
    if len(content) > _JSON_MAX_BYTES:
        raise ValueError(f"{name} has more than {_JSON_MAX_BYTES} bytes")
    return content


def _layer_digest(tar: tarfile.TarFile, name: str) -> str:
    with _member(tar, name) as file:
        return f"sha256:{hashlib.file_digest(cast(Any, file), 'sha256').hexdigest()}"


def open_vim(options: Mapping[str, Any]) -> EmulatedVim:
    """The driver `emulated`. Options: data_centre, folder."""
    return EmulatedVim(**options)
