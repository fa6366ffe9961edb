"""Projects and their members; administrators change them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError

from database import reading, writing
from orchestrator.accounts.users import Users
from orchestrator.errors import (
    NameTakenError,
    ProjectChoiceError,
    ProjectInUseError,
    UnknownProjectError,
)
from orchestrator.projects.history import let_go_history
from orchestrator.projects.ownership import Ownership
from orchestrator.projects.tables import DEFAULT, MemberRow, OwnedRow, ProjectRow
from timekeeping import Clock

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Project:
    name: str
    purpose: str
    created_at: datetime
    members: tuple[str, ...]
    """Names of users."""
    owned: dict[str, int]
    """How much it owns, by kind; for `default` only what was given to it by name."""


class Projects:
    """Thread-safe; every method is one transaction."""

    def __init__(self, engine: Engine, clock: Clock, users: Users, ownership: Ownership) -> None:
        self._engine = engine
        self._clock = clock
        self._users = users
        self._ownership = ownership

    def all(self) -> list[Project]:
        """Those of who asks, by name."""
        visible = self._ownership.visible()
        names = {user.user_id: user.name for user in self._users.all()}
        with reading(self._engine) as session:
            rows = list(session.scalars(select(ProjectRow).order_by(ProjectRow.name)))
            members = list(session.scalars(select(MemberRow)))
            counts = session.execute(
                select(OwnedRow.project, OwnedRow.kind, func.count()).group_by(
                    OwnedRow.project, OwnedRow.kind
                )
            ).all()
            session.expunge_all()
        owned: dict[str, Counter[str]] = {row.name: Counter() for row in rows}
        for project, kind, count in counts:
            owned[project][kind] = count
        return [
            Project(
                row.name,
                row.purpose,
                row.created_at,
                tuple(
                    sorted(
                        names[m.user_id]
                        for m in members
                        if m.project == row.name and m.user_id in names
                    )
                ),
                dict(owned[row.name]),
            )
            for row in rows
            if visible is None or row.name in visible
        ]

    def named(self, name: str) -> Project:
        """Raises UnknownProjectError, also for one that who asks is no member of."""
        for project in self.all():
            if project.name == name:
                return project
        raise _unknown(name)

    def add(self, name: str, purpose: str) -> Project:
        """Raises ProjectChoiceError for an impossible name, or NameTakenError."""
        if not _NAME.fullmatch(name):
            raise ProjectChoiceError(
                f"{name!r} is no name for a project.",
                next_step="Use a-z, 0-9 and inner hyphens, at most 63.",
            )
        try:
            with writing(self._engine) as session:
                session.add(ProjectRow(name=name, purpose=purpose, created_at=self._clock.now()))
        except IntegrityError as error:
            raise NameTakenError(
                f"There is a project {name} already.", next_step="Choose another name."
            ) from error
        return self.named(name)

    def delete(self, name: str) -> None:
        """Raises ProjectInUseError while it owns more than history, and for the default one."""
        self.named(name)
        if name == DEFAULT:
            raise ProjectInUseError(
                "The project default always exists.", next_step="Take its members out instead."
            )
        try:
            with writing(self._engine) as session:
                row = session.get(ProjectRow, name, with_for_update=True)
                let_go_history(session, name)
                kinds = session.scalars(select(OwnedRow.kind).where(OwnedRow.project == name))
                if left := Counter(kinds):
                    raise ProjectInUseError(
                        f"{name} owns {_counted(left)}.",
                        next_step="Delete those first, as a member of the project.",
                    )
                if row is not None:
                    session.delete(row)
        except IntegrityError as error:  # something became its own this moment
            raise ProjectInUseError(
                f"{name} owns something.", next_step="Delete that first."
            ) from error

    def grant(self, name: str, user: str) -> Project:
        """Make a user a member. Raises UnknownProjectError or UnknownUserError."""
        self.named(name)
        user_id = self._users.named(user).user_id
        with writing(self._engine) as session:
            if session.get(MemberRow, (name, user_id)) is None:
                session.add(MemberRow(project=name, user_id=user_id))
        return self.named(name)

    def revoke(self, name: str, user: str) -> Project:
        """Take a member out. Raises UnknownProjectError or UnknownUserError."""
        self.named(name)
        user_id = self._users.named(user).user_id
        with writing(self._engine) as session:
            row = session.get(MemberRow, (name, user_id))
            if row is not None:
                session.delete(row)
        return self.named(name)


def _unknown(name: str) -> UnknownProjectError:
    return UnknownProjectError(
        f"There is no project {name}.", next_step="`qnfv project list` shows yours."
    )


def _counted(owned: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}(s)" for kind, count in sorted(owned.items()))
