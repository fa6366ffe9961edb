"""A laboratory on MariaDB, one of whose data centres is a real Docker engine behind a line."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import docker
from cuttable_engine import CuttableEngine
from docker.errors import APIError, ImageNotFound
from sqlalchemy import create_engine, text

from database import open_engine
from emulators.lab.configuration_bundle import waiting_program
from emulators.lab.controllers import EMBEDDED, OPENDAYLIGHT
from emulators.lab.lab import Lab, LabOptions
from nfv_stack.contract import normal_archive
from orchestrator.cli.client import OrchestratorClient, RefusedError, UnreachableError

DATA_CENTRES = ("dc-1", "dc-2", "dc-3")
ON_DOCKER = "dc-1"
ENGINE_SOCKET = Path("/var/run/docker.sock")
_ANSWER_S = 120.0
_LOOK_S = 0.05
_STOP_S = 60.0
_NEIGHBOUR_PATIENCE_S = 4.0
"""Shorter than some absences here, so that operations are undone and held too."""
_STREAM_PATIENCE_S = 10.0
_SMALL_BYTES, _LARGE_BYTES = 500, 12_000_000


@dataclass(frozen=True)
class Image:
    """One of the catalogue. Its content is of this run alone: nobody else has it at an engine."""

    name: str
    digest: str
    vim_image_id: str
    fits_a_pad: bool


class ChaosHouse:
    """Starts, kills and asks; knows no policy of its own."""

    def __init__(self, folder: Path, mariadb_url: str, replicas: int) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self.replicas = replicas
        self._server = create_engine(mariadb_url)
        run = uuid4().hex[:8]
        self._names = {
            who: f"chaos_{run}_{who}".replace("-", "_") for who in ("main", *DATA_CENTRES)
        }
        self._urls = {who: f"{mariadb_url}/{name}" for who, name in self._names.items()}
        self.docker = docker.DockerClient(base_url=f"unix://{ENGINE_SOCKET}")
        self.line = CuttableEngine(ENGINE_SOCKET)
        overrides: list[tuple[str, str, Any]] = [
            *((name, "database_url", self._urls[name]) for name in DATA_CENTRES),
            (ON_DOCKER, "vim.driver", "docker"),
            (ON_DOCKER, "vim.options.base_url", self.line.url),
            ("orchestrator", "neighbour_patience_s", _NEIGHBOUR_PATIENCE_S),
            ("orchestrator", "stream_patience_s", _STREAM_PATIENCE_S),
            ("orchestrator", "boot_timeout_s", 20.0),
        ]
        options = LabOptions(
            time_scale=2000.0,
            pool_target_keys=1500,
            key_capacity=8192,
            database_url=self._urls["main"],
            replicas=replicas,
            controller=EMBEDDED if replicas == 1 else OPENDAYLIGHT,
            overrides=tuple(overrides),
        )
        self.lab = Lab(folder / "lab", options)
        self.images: list[Image] = []

    @property
    def orchestrators(self) -> list[str]:
        """The names of their processes."""
        return self.lab.orchestrators

    @property
    def _rest_urls(self) -> list[str]:
        return [self.lab.layout.rest_url_of(number) for number in range(1, self.replicas + 1)]

    # --- life

    def up(self) -> None:
        with self._server.begin() as connection:
            for name in self._names.values():
                connection.execute(
                    text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
                )
        self.lab.up()
        self.books = {who: open_engine(url) for who, url in self._urls.items()}
        token = self.lab.layout.token_file.read_text().strip()
        self._clients = cycle(
            [OrchestratorClient(url, token, timeout_s=20.0) for url in self._rest_urls]
        )
        self.images = [
            self._add_image("small", _SMALL_BYTES, fits_a_pad=True),
            self._add_image("large", _LARGE_BYTES, fits_a_pad=False),
        ]

    def stop_orchestrators(self) -> None:
        """In order, so that Alice's turn ends; what is in the books then stays."""
        for name in self.orchestrators:
            self.lab.processes[name].terminate()
        for name in self.orchestrators:
            self.lab.processes[name].await_end(_STOP_S)

    def down(self) -> None:
        self.lab.down()
        self.line.cut()
        for engine in getattr(self, "books", {}).values():
            engine.dispose()
        with self._server.begin() as connection:
            for name in self._names.values():
                connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        self._server.dispose()
        self._clean_engine()
        self.docker.close()

    def _clean_engine(self) -> None:
        """A test that failed leaves nothing on an engine that is others' too."""
        for container in self.containers():
            with suppress(APIError):
                container.remove(force=True, v=True)
        for image in self.images:
            with suppress(APIError):
                self.docker.images.remove(image.vim_image_id, force=True)

    def _add_image(self, name: str, size_bytes: int, *, fits_a_pad: bool) -> Image:
        file = self._folder / f"{name}.tar"
        image_id = self.write_image(file, size_bytes, name)
        digest = self.client.add_image(file, name)["digest"]
        file.unlink()
        return Image(name, digest, image_id, fits_a_pad)

    def write_image(self, file: Path, size_bytes: int, content: str) -> str:
        """A container that waits in pause(2), with so many bytes that nothing shortens: the same
        ones for the same `content`. Its id."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for member, data, mode in (
                ("pause", waiting_program(), 0o755),
                (
                    "content",
                    Random(f"{self._names['main']} {content}").randbytes(size_bytes),
                    0o644,
                ),
            ):
                info = tarfile.TarInfo(member)
                info.size, info.mode = len(data), mode
                archive.addfile(info, io.BytesIO(data))
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"User": "65534:65534", "Cmd": ["/pause"], "StopSignal": "SIGKILL"},
        }
        image_id, archive_bytes = normal_archive.build(config, [layer.getvalue()])
        file.write_bytes(archive_bytes)
        return image_id

    def lose_image(self, data_centre: str, image: Image) -> None:
        """An emulated VIM loses it, behind everybody's back."""
        name = hashlib.sha256(image.vim_image_id.encode()).hexdigest()
        folder = self.lab.layout.folder / data_centre / "vim" / "images"
        (folder / f"{name}.tar").unlink(missing_ok=True)

    # --- asking, also while the orchestrator is away

    @property
    def client(self) -> OrchestratorClient:
        """Of the orchestrator whose turn it is: all of them can be asked."""
        with self._lock:
            return next(self._clients)

    def get(self, path: str, **parameters: Any) -> Any:
        """The document; raises UnreachableError if none came for two minutes."""
        deadline_s = time.monotonic() + _ANSWER_S
        while True:
            try:
                return self.client.get(path, **parameters)
            except UnreachableError:
                if time.monotonic() > deadline_s:
                    raise
            except RefusedError as error:
                if error.problem.status < 500 or time.monotonic() > deadline_s:
                    raise
            time.sleep(_LOOK_S)

    def until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Whether it came true in time."""
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_LOOK_S)
        return True

    # --- what the VIMs hold of ours

    def containers(self) -> list[Any]:
        digests = {image.digest for image in self.images}
        return [
            container
            for container in self.docker.containers.list(
                all=True, filters={"label": "qnfv.instance"}, ignore_removed=True
            )
            if container.labels.get("qnfv.image") in digests
        ]

    def images_on_engine(self) -> list[str]:
        held = []
        for image in self.images:
            with suppress(ImageNotFound):
                found = self.docker.images.get(image.vim_image_id)
                held.append(f"{image.name} with tags {found.tags}")
        return held

    def files_of_vim(self, data_centre: str) -> list[str]:
        """Images, instances and drafts of an emulated VIM."""
        vim = self.lab.layout.folder / data_centre / "vim"
        return sorted(str(file.relative_to(vim)) for file in vim.rglob("*") if file.is_file())
