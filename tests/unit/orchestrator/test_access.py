"""Who is let in to the people's REST."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from orchestrator.access import LoopbackAccess, load_or_make_token


def client(token_file: Path) -> TestClient:
    app = FastAPI()

    @app.get("/api/v1/thing")
    def thing() -> str:
        return "the thing"

    app.add_middleware(
        LoopbackAccess, token=load_or_make_token(token_file), allowed_hosts=("127.0.0.1",)
    )
    return TestClient(app, base_url="http://127.0.0.1:8080")


def ask(client: TestClient, **headers: str) -> int:
    return client.get("/api/v1/thing", headers=headers).status_code


def test_the_token_of_the_file_opens_and_nothing_else_does(tmp_path: Path) -> None:
    file = tmp_path / "state" / "token"
    visitor = client(file)
    token = file.read_text().strip()
    assert ask(visitor, Authorization=f"Bearer {token}") == 200
    assert ask(visitor) == ask(visitor, Authorization="Bearer wrong") == 401
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "\n", "  "])
def test_an_empty_token_file_lets_nobody_in_without_a_token(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)  # as a crash or a full disk leaves it
    visitor = client(file)
    assert ask(visitor) == 401
    assert ask(visitor, Authorization="Bearer ") == 401
    assert ask(visitor, Authorization=f"Bearer {file.read_text().strip()}") == 200
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_token_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert load_or_make_token(file) == load_or_make_token(file)


def test_foreign_hosts_and_origins_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    visitor = client(file)
    bearer = f"Bearer {file.read_text().strip()}"
    assert ask(visitor, Authorization=bearer, Host="evil.example") == 421
    assert ask(visitor, Authorization=bearer, Origin="http://evil.example") == 403
    assert ask(visitor, Authorization=bearer, Origin="http://127.0.0.1:8080") == 200
