"""Who is behind a request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    def covers(self, other: Role) -> bool:
        """Whether this role may do all that `other` may."""
        return _RANK[self] >= _RANK[other]


_RANK = {role: rank for rank, role in enumerate(Role)}

ROLE_MEANING: dict[Role, str] = {
    Role.VIEWER: "sees what its projects own and what is nobody's, but accounts and audit",
    Role.OPERATOR: "also uses images, deployments, circuits and the schedule; reads the audit",
    Role.ADMINISTRATOR: "also accounts, quarantined keys and the repair of devices",
}


class Via(StrEnum):
    """By what somebody is known."""

    TOKEN_FILE = "token-file"  # noqa: S105
    TOKEN = "token"  # noqa: S105
    SESSION = "session"


@dataclass(frozen=True)
class Identity:
    name: str
    role: Role
    via: Via
    user_id: UUID | None = None
    """None for the machine's owner, who has no account."""
    must_change_password: bool = False
    """He has a password that somebody else knows; nothing but changing it is open to him."""
    until: datetime | None = None
    """When the token expires that he is known by."""

    @property
    def account(self) -> str:
        """Of this user alone for ever; a name may be given to somebody else later."""
        return self.name if self.user_id is None else str(self.user_id)


LOCAL = Identity("local", Role.ADMINISTRATOR, Via.TOKEN_FILE)
"""Whoever can read the token file: the owner of this machine."""

IDENTITY = "qnfv.identity"
"""Where the scope of a request holds who is behind it, for what lies around the door."""

_asking: ContextVar[Identity | None] = ContextVar("asking", default=None)


def asking() -> Identity | None:
    """Who is behind the request at hand; None outside one, and at an open endpoint."""
    return _asking.get()


@contextmanager
def asked_by(identity: Identity | None) -> Iterator[None]:
    """Within the block, `asking()` is `identity`."""
    token = _asking.set(identity)
    try:
        yield
    finally:
        _asking.reset(token)
