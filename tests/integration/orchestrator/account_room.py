"""The whole REST of an orchestrator that is not started: every endpoint, and the door before it."""

from __future__ import annotations

from pathlib import Path

from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from database import open_engine
from emulators.lab.lab import Lab, LabOptions
from orchestrator.access import load_or_make_token
from orchestrator.accounts.identity import Role
from orchestrator.accounts.service import Accounts
from orchestrator.accounts.sessions import COOKIE
from orchestrator.app import build_app
from orchestrator.projects.ownership import Ownership
from orchestrator.settings import OrchestratorSettings
from timekeeping import SystemClock

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery"


class AccountRoom:
    """Users are made beside the application, in its database, with cheap passwords."""

    def __init__(self, folder: Path, database_url: str) -> None:
        lab = Lab(folder / "lab", LabOptions(database_url=database_url))
        lab.prepare()
        self.settings = OrchestratorSettings.load(lab.layout.settings("orchestrator"))
        self.app: FastAPI = build_app(self.settings)
        self.engine = open_engine(database_url)
        self.accounts = Accounts(
            self.engine,
            SystemClock(),
            self.settings.accounts,
            self.settings.state_dir,
            hasher=CHEAP,
            on_user_added=Ownership.welcome,
        )
        self.local_token = load_or_make_token(self.settings.token_file)

    def visitor(self) -> TestClient:
        """Somebody without any token."""
        return TestClient(self.app, base_url="http://127.0.0.1", raise_server_exceptions=False)

    def owner(self) -> TestClient:
        """Whoever holds the token file."""
        visitor = self.visitor()
        visitor.headers["Authorization"] = f"Bearer {self.local_token}"
        return visitor

    def user(self, name: str, role: Role) -> None:
        self.accounts.users.add(name, role, PASSWORD)

    def token(self, name: str, role: Role) -> str:
        """A token of a new user with this role."""
        self.user(name, role)
        return self.accounts.tokens.create(self.accounts.users.named(name), "t", role, None)[1]

    def with_token(self, name: str, role: Role) -> TestClient:
        visitor = self.visitor()
        visitor.headers["Authorization"] = f"Bearer {self.token(name, role)}"
        return visitor

    def signed_in(self, name: str, role: Role) -> tuple[TestClient, str]:
        """A browser with a session, and its CSRF token."""
        self.user(name, role)
        visitor = self.visitor()
        answer = sign_in(visitor, name)
        assert answer.status_code == 201, answer.text
        assert COOKIE in visitor.cookies
        return visitor, str(answer.json()["csrf_token"])

    def close(self) -> None:
        self.engine.dispose()


def sign_in(visitor: TestClient, name: str, password: str = PASSWORD) -> Response:
    return visitor.post("/api/v1/session", json={"user": name, "password": password})
