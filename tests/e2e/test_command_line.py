"""The command `qnfv` as a person types it, against a running laboratory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from csar_builder import Csar
from e2e_house import House, docker_archive


class CommandLine:
    def __init__(self, house: House) -> None:
        layout = house.lab.layout
        self._options = ["--url", layout.rest_url, "--token-file", str(layout.token_file)]

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator.cli.main", *self._options, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def qnfv(house: House) -> CommandLine:
    return CommandLine(house)


def test_a_package_by_hand(qnfv: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "router.csar"
    file.write_bytes(Csar().packed())
    assert "Router 2.1: ONBOARDED" in qnfv("package", "add", str(file))
    assert "Router-2.1" in qnfv("image", "show", "Router-2.1")
    assert "already" in qnfv("package", "add", str(file), code=1)
    assert "CREATED" in qnfv("package", "list")
    qnfv("package", "delete", "Router", code=5)
    qnfv("package", "disable", "Router")
    qnfv("package", "delete", "Router")
    assert "Router" not in qnfv("image", "list")


def test_the_whole_way_by_hand(qnfv: CommandLine, house: House, tmp_path: Path) -> None:
    archive = docker_archive(tmp_path / "my web server.tar", b"by hand")
    assert "docker-archive" in qnfv("image", "add", str(archive))
    assert "my-web-server" in qnfv("image", "list")
    assert re.search(r"dc-3 +yes +emulated", qnfv("dc", "list"))

    plan = qnfv("vnf", "plan", "my-web-server", "dc-3")
    assert "25.01 km" in plan
    assert "polatis-1:" in plan
    assert "time" in plan

    deployed = qnfv("vnf", "deploy", "my-web-server", "dc-3", "--name", "hand", "--wait", "100")
    assert "COMPLETED" in deployed
    for step in ("key", "circuit", "announce", "stream", "place", "notify", "boot", "acknowledge"):
        assert re.search(rf"✔ +{step}", deployed), step
    found = re.search(r"Deployment ([0-9a-f-]{36}) \(hand\)", deployed)
    assert found is not None

    assert "RUNNING" in qnfv("vnf", "list")
    assert "COMPLETED" in qnfv("op", "list")
    assert "alice--bob-3" in qnfv("keys", "show")
    assert "done" in qnfv("schedule", "show").lower()
    refused = qnfv("image", "delete", "my-web-server", code=5)
    assert "used by 1 deployment" in refused
    assert "Next:" in refused

    assert found.group(1) in qnfv("vnf", "show", found.group(1)[:8])
    assert "no operation" in qnfv("op", "show", "nonsense", code=3)
    assert "unused" in qnfv("image", "add", str(archive), "--name", "other")
    assert "remove" in qnfv("vnf", "delete", "hand")
    qnfv("image", "delete", "my-web-server")
    house.assert_nothing_left()


def test_several_data_centres_side_by_side(
    qnfv: CommandLine, house: House, small_image: str
) -> None:
    where = ("dc-1", "dc-2")
    refused = qnfv("vnf", "deploy", small_image, "dc-1", "dc-9", "--name", "both", code=3)
    assert "dc-9" in refused
    assert "both" not in qnfv("vnf", "list"), "none is begun where another one cannot be"
    qnfv("vnf", "deploy", small_image, "dc-1", "dc-1", code=2)
    planned = qnfv("vnf", "deploy", small_image, *where, "--dry-run")
    assert all(f"for {each}" in planned for each in where)
    deployed = qnfv("vnf", "deploy", small_image, *where, "--name", "both", "--wait", "100")
    assert all(f"(both) in {each}" in deployed for each in where)
    assert deployed.count("acknowledge") >= 2
    running = [each for each in house.get("/api/v1/deployments") if each["state"] == "RUNNING"]
    assert {each["data_centre"] for each in running} == set(where)
    for each in running:
        house.remove(each)
    house.assert_nothing_left()


def test_a_mistake_is_answered_in_two_lines(qnfv: CommandLine) -> None:
    said = qnfv("vnf", "deploy", "no-such-image", "dc-1", code=3)
    assert "no image no-such-image" in said
    assert "qnfv image list" in said


def test_an_absent_orchestrator_is_said(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x")
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli.main", "--url", "http://127.0.0.1:9",
         "--token-file", str(token), "dc", "list"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 7
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lab_makes_its_own_authority(tmp_path: Path) -> None:
    def pki(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "orchestrator.cli.main", "pki", *arguments],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    folder = str(tmp_path / "pki")
    assert "Fingerprint" in pki("init", folder).stdout
    assert pki("init", folder).returncode == 1
    assert "Certificate" in pki("issue", folder, "slave", "dc-9", "--address", "10.0.0.9").stdout
    assert (tmp_path / "pki" / "dc-9.slave.key").stat().st_mode & 0o077 == 0
    assert pki("issue", folder, "slave", "No Good").returncode == 2
