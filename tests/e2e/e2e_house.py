"""One laboratory for the whole folder: real processes, real bytes, QKD time at 2000x."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.lab.lab import Lab, LabOptions
from orchestrator.cli.client import OrchestratorClient, UnreachableError

DATA_CENTRES = ("dc-1", "dc-2", "dc-3")


def docker_archive(path: Path, payload: bytes) -> Path:
    """A docker-save archive with one layer that holds `payload`."""

    def tar(members: list[tuple[str, bytes]]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    layer = tar([("payload", payload)])
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/payload"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()],
            },
        }
    ).encode()
    manifest = json.dumps(
        [{"Config": "config.json", "RepoTags": ["x:y"], "Layers": ["a/layer.tar"]}]
    ).encode()
    path.write_bytes(
        tar([("manifest.json", manifest), ("config.json", config), ("a/layer.tar", layer)])
    )
    return path


class House:
    """A running laboratory and a client of its orchestrator."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        token = lab.layout.token_file.read_text().strip()
        self.client = OrchestratorClient(lab.layout.rest_url, token)

    def get(self, path: str, timeout_s: float = 60.0) -> Any:
        """The document, also while the orchestrator is being started again."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                return self.client.get(path)
            except UnreachableError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)

    def deploy(self, image: str, data_centre: str, **more: Any) -> dict[str, Any]:
        document = {"image": image, "data_centre": data_centre, "wait_s": 120, **more}
        answer: dict[str, Any] = self.client.post("/api/v1/deployments", document)
        return answer

    def ended(self, operation_id: str, timeout_s: float = 120.0) -> dict[str, Any]:
        """The operation's document once it ended."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            document: dict[str, Any] = self.get(f"/api/v1/operations/{operation_id}")
            if document["ended_at"] is not None:
                return document
            if time.monotonic() > deadline_s:
                pytest.fail(f"the operation did not end: {json.dumps(document, indent=1)}")
            time.sleep(0.05)

    def until(self, holds: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline_s:
                pytest.fail(f"never came true: {what}")
            time.sleep(0.05)

    def pool(self, data_centre: str) -> dict[str, Any]:
        pools = {p["data_centre"]: p for p in self.get("/api/v1/keys")}
        found: dict[str, Any] = pools[data_centre]
        return found

    def remove(self, deployment: dict[str, Any]) -> None:
        answer = self.client.delete(f"/api/v1/deployments/{deployment['deployment_id']}")
        assert self.ended(answer["operation_id"])["state"] == "COMPLETED"

    def assert_nothing_left(self) -> None:
        """No circuit for a transfer, no promised key, no image and no instance anywhere."""
        circuits = self.get("/api/v1/circuits")
        held = [c for c in circuits["circuits"] if c["purpose"] == "image-transfer"]
        assert not held, held
        assert not [w for w in circuits["waiting"] if w.startswith("operation:")]
        for data_centre in DATA_CENTRES:
            counts = self.pool(data_centre)["counts"]
            assert counts["RESERVED"] == counts["ARMED"] == 0, (data_centre, counts)
            vim = self.lab.layout.folder / data_centre / "vim"
            assert list((vim / "images").glob("*")) == []
            assert list((vim / "instances").glob("*")) == []
            bob = self.bob_counts(data_centre)
            assert bob.get("RESERVED", 0) == bob.get("ARMED", 0) == 0, (data_centre, bob)

    def bob_counts(self, data_centre: str) -> dict[str, int]:
        """The states of the keys at the other end, read from its database."""
        import sqlite3

        database = self.lab.layout.folder / data_centre / "slave.sqlite"
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            rows = connection.execute("SELECT state, COUNT(*) FROM key_ledger GROUP BY state")
            return dict(rows.fetchall())


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    lab = Lab(
        tmp_path_factory.mktemp("lab"),
        LabOptions(time_scale=2000.0, slot_s=500.0, pool_target_keys=24, key_capacity=48),
    )
    lab.up()
    try:
        running = House(lab)
        for data_centre in DATA_CENTRES:
            running.until(
                lambda name=data_centre: running.pool(name)["level_keys"] > 0,  # type: ignore[misc]
                f"keys for {data_centre}",
            )
        yield running
    finally:
        lab.down()


@pytest.fixture(scope="session")
def small_image(house: House, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = docker_archive(tmp_path_factory.mktemp("images") / "small.tar", b"small" * 1000)
    return str(house.client.add_image(file, "small")["digest"])


@pytest.fixture(scope="session")
def large_image(house: House, tmp_path_factory: pytest.TempPathFactory) -> str:
    """24 MB that no zero record shortens."""
    payload = hashlib.shake_256(b"large image").digest(24_000_000)
    file = docker_archive(tmp_path_factory.mktemp("images") / "large.tar", payload)
    return str(house.client.add_image(file, "large")["digest"])
