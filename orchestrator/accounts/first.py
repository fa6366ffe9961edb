"""The first administrator, made at the first start with a secret that is shown once."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import structlog

from orchestrator.accounts.identity import Role
from orchestrator.accounts.users import Users
from orchestrator.errors import NameTakenError

log = structlog.get_logger(__name__)
FIRST_NAME = "administrator"
FILE_NAME = "first-administrator"


class FirstAdministrator:
    """Where there is no user, `administrator` is made with a random password.

    It is written to a terminal where standard error is one, never to a log, and into a file that
    its owner alone can read. Signing in with it opens nothing but the change of the password.
    """

    def __init__(self, users: Users, state_dir: Path) -> None:
        self._users = users
        self._file = state_dir / FILE_NAME

    def make(self) -> None:
        if not self._users.is_empty():
            return
        secret = secrets.token_urlsafe(24)
        # The file first: a user whose secret nobody has is of no use.
        self._write(secret)
        try:
            self._users.add(FIRST_NAME, Role.ADMINISTRATOR, secret, must_change_password=True)
        except NameTakenError:
            # Another process was faster; its file stands in its own state.
            self.forget()
            return
        log.info("the first administrator's secret waits", user=FIRST_NAME, file=str(self._file))
        if sys.stderr.isatty():
            print(f"Sign in once as {FIRST_NAME} with: {secret}", file=sys.stderr, flush=True)

    def forget(self) -> None:
        """The secret was used: its file goes."""
        self._file.unlink(missing_ok=True)

    def _write(self, secret: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.unlink(missing_ok=True)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secret + "\n")
            handle.flush()
            os.fsync(handle.fileno())
