"""The demo as a person runs it, with a real Docker engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException


@pytest.fixture
def engine(missing_part: Callable[[str, str], None]) -> docker.DockerClient:
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        missing_part("docker", str(error))
    return client


def run_demo(tmp_path: Path, *more: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli.main", "demo", "run",
         "--state-dir", str(tmp_path / "lab"), "--report", str(report), *more],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    return done, report


def test_the_demo_runs_a_real_container(tmp_path: Path, engine: docker.DockerClient) -> None:
    before = {image.id for image in engine.images.list(all=True)}
    done, report = run_demo(tmp_path, "--vim", "docker", "--key-mode", "on_demand")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(report.read_text())
    assert document["vim"] == "docker"
    assert document["page"]["status"] == 200
    assert document["key_mode"] == "on_demand"
    assert [step["name"] for step in document["steps"]] == [
        "key", "circuit", "announce", "stream", "place", "notify", "boot", "acknowledge",
    ]  # fmt: skip
    assert document["acknowledgement"]["http_status"] == 200
    assert len(document["path"]) == 2
    assert "embedded" in document["laboratory"]["controller"]
    assert "stands in for OpenDaylight" in " ".join(done.stdout.split())
    assert {image.id for image in engine.images.list(all=True)} <= before
    labelled = engine.containers.list(
        all=True, filters={"label": f"qnfv.instance={document['instance_id']}"}
    )
    assert labelled == []
