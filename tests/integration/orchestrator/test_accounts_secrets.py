"""Passwords, tokens and cookies are nowhere but where they belong."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from account_room import PASSWORD, AccountRoom, sign_in

from orchestrator.accounts.first import FILE_NAME, FIRST_NAME
from orchestrator.accounts.identity import Role
from orchestrator.accounts.sessions import COOKIE


@pytest.fixture
def room(tmp_path: Path) -> Iterator[AccountRoom]:
    made = AccountRoom(tmp_path, f"sqlite:///{tmp_path / 'orchestrator.sqlite'}")
    yield made
    made.close()


def test_the_first_administrator_has_a_secret_that_is_gone_when_it_was_used(
    room: AccountRoom, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        room.accounts.start()
    file = room.settings.state_dir / FILE_NAME
    secret = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret not in said.getvalue() + caplog.text
    room.accounts.start()  # another start makes nobody
    assert file.read_text().strip() == secret
    assert [user.name for user in room.accounts.users.all()] == [FIRST_NAME]
    assert sign_in(room.visitor(), FIRST_NAME, "wrong wrong wrong").status_code == 401
    assert file.exists()
    opened = sign_in(room.visitor(), FIRST_NAME, secret)
    assert opened.json()["must_change_password"] is True
    assert not file.exists()
    room.accounts.start()
    assert not file.exists()


def test_a_terminal_is_told_the_secret(room: AccountRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    with redirect_stderr(terminal):
        room.accounts.start()
    assert (room.settings.state_dir / FILE_NAME).read_text().strip() in terminal.getvalue()


def test_no_secret_is_in_logs_answers_representations_audit_or_database(
    room: AccountRoom, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    said = io.StringIO()
    typo = "my password in the wrong field"
    with redirect_stdout(said), redirect_stderr(said):
        token = room.token("ann", Role.ADMINISTRATOR)
        browser = room.visitor()
        opened = sign_in(browser, "ann")
        cookie, csrf = browser.cookies[COOKIE], opened.json()["csrf_token"]
        owner = room.owner()
        answers = [
            sign_in(room.visitor(), "ann", typo),
            sign_in(room.visitor(), typo, PASSWORD),
            room.visitor().post("/api/v1/session", json={"user": 1, "password": PASSWORD}),
            room.visitor().post("/api/v1/session", content=f'{{"password": "{PASSWORD}"'),
            owner.post("/api/v1/users", json={"name": "X", "password": PASSWORD}),
            owner.put("/api/v1/users/ann/password", json={"password": PASSWORD, "x": 1}),
            owner.get("/api/v1/users"),
            owner.get("/api/v1/tokens"),
            owner.get("/api/v1/audit"),
            room.visitor().get("/api/v1/me", headers={"X-Auth-Token": token + "x"}),
        ]
    accounts = room.accounts
    rows = [*accounts.users.all(), *accounts.tokens.all(), accounts.sessions, accounts]
    rows.append(accounts.sessions.begin(accounts.users.named("ann"), "here"))
    database = b"".join(file.read_bytes() for file in tmp_path.glob("orchestrator.sqlite*"))
    heard = said.getvalue() + caplog.text + repr(rows) + "".join(a.text for a in answers)
    for secret in (PASSWORD, token, cookie, csrf, typo, room.local_token):
        assert secret not in heard
        assert secret.encode() not in database
    hashed = accounts.users.named("ann").password_hash
    assert hashed.startswith("$argon2id$")
    assert hashed not in heard
