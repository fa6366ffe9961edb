"""Accounts and audit of a running orchestrator, by hand and over REST."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e_house import House

PASSWORD = "correct horse battery"


class CommandLine:
    """`qnfv` with a token file."""

    def __init__(self, house: House, token_file: Path) -> None:
        self._options = ["--url", house.lab.layout.rest_url, "--token-file", str(token_file)]

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator.cli.main", *self._options, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = self.run(*arguments, code=code)
        return done.stdout + done.stderr


@pytest.fixture
def qnfv(house: House) -> CommandLine:
    return CommandLine(house, house.lab.layout.token_file)


def test_users_and_tokens_by_hand(qnfv: CommandLine, house: House, tmp_path: Path) -> None:
    assert "local, administrator, known by token-file" in qnfv("whoami")
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD + "\n")
    with_password = ("--password-file", str(password_file))
    assert "ann is operator" in qnfv("user", "add", "ann", "--role", "operator", *with_password)
    assert "a user ann already" in qnfv("user", "add", "ann", *with_password, code=5)
    assert re.search(r"ann +operator", qnfv("user", "list"))
    made = qnfv.run("token", "create", "ci", "--user", "ann", "--role", "viewer", "--days", "2")
    token_file = tmp_path / "ci.token"
    token_file.write_text(made.stdout)
    as_ann = CommandLine(house, token_file)
    assert "ann, viewer, known by token" in as_ann("whoami")
    as_ann("vnf", "list")
    assert "for the role operator" in as_ann("image", "delete", "nothing", code=4)
    assert re.search(r"ci +ann +viewer", as_ann("token", "list"))
    assert "for the role operator" in as_ann("audit", "list", code=4)
    qnfv("user", "passwd", "ann", *with_password, "--keep")
    assert "ann is viewer" in qnfv("user", "role", "ann", "viewer")
    assert "is revoked" in qnfv("token", "revoke", "ci")
    assert "no valid token" in as_ann("whoami", code=4)
    assert "ann is gone" in qnfv("user", "delete", "ann")
    told = qnfv("audit", "list", "--who", "ann")
    assert "DELETE /api/v1/images/{reference}" in told
    assert "403" in told
    assert "whole chain" in qnfv("audit", "verify")


def test_the_custody_of_an_instance_is_in_the_audit(
    house: House, qnfv: CommandLine, small_image: str
) -> None:
    deployment = house.deploy(small_image, "dc-2")
    operation = house.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    key = next(s for s in operation["steps"] if s["name"] == "key")["detail"]["key_id"]
    instance = deployment["deployment_id"]

    def records(subject: str) -> list[dict[str, Any]]:
        page: dict[str, Any] = house.client.get("/api/v1/audit", subject=subject)
        found: list[dict[str, Any]] = page["records"]
        return found

    house.until(lambda: len(records(instance)) == 2, "the end is recorded")
    ended, asked = records(instance)
    assert (asked["who"], asked["action"], asked["outcome"]) == (
        "local",
        "POST /api/v1/deployments",
        "202",
    )
    assert asked["source"] == "127.0.0.1"
    assert (ended["who"], ended["action"]) == ("orchestrator", "operation INSTANTIATE")
    assert ended["subjects"]["key"] == key
    assert ended["subjects"]["image"] == small_image
    assert ended["subjects"]["data_centre"] == "dc-2"
    assert ended["subjects"]["instance"] == instance
    assert records(key) == [ended]
    head = re.search(r"head (\d+:[0-9a-f]{64})", qnfv("audit", "verify"))
    assert head is not None
    house.remove(deployment)
    house.until(lambda: len(records(instance)) == 4, "the removal is recorded")
    assert "whole chain" in qnfv("audit", "verify", "--head", head[1])
    forged = f"{head[1][:-1]}{'0' if head[1][-1] != '0' else '1'}"
    assert "anchored" in qnfv("audit", "verify", "--head", forged, code=1)


def test_the_first_administrator_signs_in_once_with_the_secret_of_the_file(house: House) -> None:
    state = house.lab.layout.folder / "orchestrator"
    file = state / "first-administrator"
    secret = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    logs = b"".join(log.read_bytes() for log in (house.lab.layout.folder / "logs").iterdir())
    assert secret.encode() not in logs
    assert str(file).encode() in logs
    with httpx.Client(base_url=house.lab.layout.rest_url) as browser:
        document = {"user": "administrator", "password": secret}
        opened = browser.post("/api/v1/session", json=document)
        assert opened.status_code == 201
        assert not file.exists()
        assert browser.get("/api/v1/users").status_code == 403
        change = {"current_password": secret, "new_password": PASSWORD}
        csrf = {"X-CSRF-Token": opened.json()["csrf_token"]}
        assert browser.put("/api/v1/me/password", json=change, headers=csrf).status_code == 200
        (only,) = browser.get("/api/v1/users").json()
        assert only["name"] == "administrator"
        assert json.dumps(only).find("$argon2") == -1
        again = browser.post("/api/v1/session", json=document)
        assert again.status_code == 401


def test_a_circuit_belongs_to_whoever_asked_for_it(house: House) -> None:
    made = house.client.post(
        "/api/v1/circuits", {"from_end_point": "node-1", "to_end_point": "dc-1"}
    )
    try:
        assert made["owners"][0].startswith("manual:local:")
    finally:
        house.client.delete(f"/api/v1/circuits/{made['circuit_id']}")
