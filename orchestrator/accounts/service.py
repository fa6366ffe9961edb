"""Accounts as one room: who is known by what, and signing in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from argon2 import PasswordHasher
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from orchestrator.accounts.first import FIRST_NAME, FirstAdministrator
from orchestrator.accounts.identity import Identity
from orchestrator.accounts.passwords import Passwords
from orchestrator.accounts.sessions import OpenedSession, Sessions
from orchestrator.accounts.tables import UserRow
from orchestrator.accounts.throttle import SignInThrottle
from orchestrator.accounts.tokens import Tokens
from orchestrator.accounts.users import Users
from orchestrator.settings import AccountsTable
from timekeeping import Clock


class Accounts:
    """Thread-safe."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        table: AccountsTable,
        state_dir: Path,
        hasher: PasswordHasher | None = None,
        on_user_added: Callable[[Session, UUID], None] = lambda _session, _user_id: None,
    ) -> None:
        """`engine` with the tables of `migrate_accounts`; `hasher`: tests take a cheap one;
        `on_user_added` is called within the transaction that adds a user."""
        self.passwords = Passwords(hasher)
        self.users = Users(engine, clock, self.passwords, on_user_added)
        self.tokens = Tokens(engine, clock)
        self.sessions = Sessions(
            engine, clock, life_s=table.session_life_s, idle_s=table.session_idle_s
        )
        self.first = FirstAdministrator(self.users, state_dir)
        self._throttle = SignInThrottle(
            clock,
            per_user=table.sign_in_tries,
            per_address=table.sign_in_tries_per_address,
            window_s=table.sign_in_window_s,
        )

    def start(self) -> None:
        self.first.make()

    def sign_in(self, name: str, password: str, source: str) -> tuple[UserRow, OpenedSession]:
        """Raises SignInError or TooManyTriesError."""
        user = self._checked(name, password, source)
        if name == FIRST_NAME:
            self.first.forget()
        return user, self.sessions.begin(user, source)

    def change_own_password(
        self, identity: Identity, current: str, new: str, source: str
    ) -> OpenedSession:
        """All his sessions end, a new one begins. Raises SignInError, WeakPasswordError."""
        self._checked(identity.name, current, source)
        self.users.set_password(identity.name, new)
        return self.sessions.begin(self.users.named(identity.name), source)

    def _checked(self, name: str, password: str, source: str) -> UserRow:
        self._throttle.begin(name, source)
        user = self.users.check(name, password)
        self._throttle.succeeded(name, source)
        return user
