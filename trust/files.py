"""Writing files that others read at any moment, and files that only their owner reads."""

from __future__ import annotations

import os
import pwd
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trust.errors import CredentialsError


@dataclass(frozen=True)
class Owner:
    """User and group of a file."""

    uid: int
    gid: int

    @classmethod
    def named(cls, user: str) -> Owner:
        """The user and its first group. Raises CredentialsError."""
        try:
            found = pwd.getpwnam(user)
        except KeyError as error:
            raise CredentialsError(
                f"This host has no user {user}.",
                next_step="Name the user that runs the service; docs/deploy.md makes one.",
            ) from error
        return cls(found.pw_uid, found.pw_gid)


def write_whole(path: Path, data: bytes, *, mode: int = 0o644, owner: Owner | None = None) -> None:
    """Replace `path` in one step: a reader sees the old content or the new, after a crash too.

    Without `owner`, a file that is replaced keeps its own, as far as we may give files away.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), owner.uid, owner.gid)
            else:
                _keep_owner(file.fileno(), path)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def write_secret(path: Path, data: bytes, *, owner: Owner | None = None) -> None:
    """The same for a file that is closed to everybody else."""
    write_whole(path, data, mode=0o600, owner=owner)


def _keep_owner(descriptor: int, path: Path) -> None:
    with suppress(FileNotFoundError, PermissionError):
        before, now = path.lstat(), os.fstat(descriptor)
        if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
            os.fchown(descriptor, before.st_uid, before.st_gid)
