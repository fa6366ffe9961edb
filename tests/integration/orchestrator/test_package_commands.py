"""`qnfv package` against the whole REST of an orchestrator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from account_room import AccountRoom
from csar_builder import Csar, disk
from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from orchestrator.cli import exit_codes, uploading
from orchestrator.cli.client import OrchestratorClient
from orchestrator.cli.connection import Connection
from orchestrator.cli.errors import NoSuchThingError, RefusedError, UnreachableError
from orchestrator.cli.main import app

PACKAGES = "/vnfpkgm/v1/vnf_packages"
Qnfv = Callable[..., Result]


@pytest.fixture(scope="module")
def client(room: AccountRoom) -> TestClient:
    return room.owner()


@pytest.fixture
def qnfv(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Qnfv:
    def opened(_: Connection) -> OrchestratorClient:
        made = OrchestratorClient("http://127.0.0.1", "t")
        made.close()
        made._http = client
        return made

    monkeypatch.setattr(Connection, "open", opened)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, ["package", *words])


def written(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def document(result: Result) -> dict[str, Any]:
    """What was told, without what the orchestrator, here the same process, logged meanwhile."""
    lines = result.stdout.splitlines()
    whole: dict[str, Any] = json.loads("\n".join(lines[lines.index("{") : lines.index("}") + 1]))
    return whole


def test_the_life_of_a_package_by_hand(qnfv: Qnfv, client: TestClient, tmp_path: Path) -> None:
    made = Csar()
    added = qnfv("add", written(tmp_path, "router.csar", made.packed()))
    assert added.exit_code == 0, added.output
    assert "Router 2.1: ONBOARDED, ENABLED, NOT_IN_USE" in added.stdout
    assert made.vnfd_id in added.stdout
    listed = qnfv("list", "-o", "json")
    (package,) = [each for each in json.loads(listed.stdout) if each["vnfdId"] == made.vnfd_id]
    assert package["id"] in qnfv("list").stdout
    instance = client.post(
        "/vnflcm/v1/vnf_instances", json={"vnfdId": made.vnfd_id, "vnfInstanceName": "edge"}
    ).json()
    shown = qnfv("show", package["id"][:8])
    assert "VNF instances of this VNFD: edge" in shown.stdout
    assert yaml.safe_load(qnfv("show", "Router", "-o", "yaml").stdout)["id"] == package["id"]
    disabled = qnfv("disable", "Router 2.1")
    assert "ONBOARDED, DISABLED, IN_USE" in disabled.stdout
    with pytest.raises(RefusedError, match="edge") as refused:
        raise_of(qnfv("delete", "Router"))
    assert exit_codes.exit_code_of(refused.value) == exit_codes.CONFLICT
    assert "ENABLED" in qnfv("enable", "Router").stdout
    assert client.delete(f"/vnflcm/v1/vnf_instances/{instance['id']}").status_code == 204
    with pytest.raises(RefusedError) as enabled:
        raise_of(qnfv("delete", "Router"))
    assert "Disable it first" in (enabled.value.next_step or "")
    assert qnfv("disable", "Router").exit_code == 0
    assert qnfv("delete", "Router").exit_code == 0
    with pytest.raises(NoSuchThingError):
        raise_of(qnfv("show", "Router"))


def raise_of(result: Result) -> None:
    assert result.exception is not None, result.output
    raise result.exception


def test_a_wrong_package_says_why_and_is_corrected(
    qnfv: Qnfv, client: TestClient, tmp_path: Path
) -> None:
    wrong = qnfv("add", written(tmp_path, "wrong.csar", Csar(flavour="").packed()))
    assert wrong.exit_code == exit_codes.FAILED
    assert "flavour_id" in wrong.output
    assert "Next:" in wrong.output
    (package,) = [
        each for each in client.get(PACKAGES).json() if "onboardingFailureDetails" in each
    ]
    right = written(tmp_path, "right.csar", Csar().packed())
    corrected = qnfv("add", right, "--into", package["id"][:8], "-o", "json")
    assert corrected.exit_code == 0, corrected.output
    assert document(corrected)["id"] == package["id"]
    again = qnfv("add", right, "--wait", "0")
    assert again.exit_code in (0, exit_codes.FAILED), "its VNFD is there already, told or not yet"
    assert len(client.get("/api/v1/uploads").json()) == 0


def test_a_refused_upload_leaves_no_empty_package(
    room: AccountRoom, qnfv: Qnfv, client: TestClient, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before = len(client.get(PACKAGES).json())
    monkeypatch.setattr(room.settings.packages, "most_bytes_per_project", 1)
    with pytest.raises(RefusedError, match="more than 1 bytes"):
        raise_of(qnfv("add", written(tmp_path, "disk.img", disk())))
    assert len(client.get(PACKAGES).json()) == before


def test_an_upload_that_was_stopped_goes_on_with_the_same_package(
    qnfv: Qnfv, client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "stopped.img", disk(100_000))
    monkeypatch.setattr(uploading, "_TRIES", 1)
    monkeypatch.setattr(uploading, "_PAUSE_S", 0.0)
    send = OrchestratorClient.send_piece

    def breaks(self: OrchestratorClient, upload_id: str, offset: int, content: Any) -> None:
        del content
        raise UnreachableError("the line broke")

    monkeypatch.setattr(OrchestratorClient, "send_piece", breaks)
    with pytest.raises(UnreachableError):
        raise_of(qnfv("add", file))
    (upload,) = client.get("/api/v1/uploads").json()
    monkeypatch.setattr(OrchestratorClient, "send_piece", send)
    added = qnfv("add", file, "-o", "json")
    assert added.exit_code == 0, added.output
    assert document(added)["id"] == upload["vnf_package"]


def test_a_long_list_is_told_whole(qnfv: Qnfv, client: TestClient) -> None:
    before = len(json.loads(qnfv("list", "-o", "json").stdout))
    for _ in range(101):
        assert client.post(PACKAGES, json={}).status_code == 201
    assert len(client.get(PACKAGES).json()) == 100
    assert len(json.loads(qnfv("list", "-o", "json").stdout)) == before + 101
