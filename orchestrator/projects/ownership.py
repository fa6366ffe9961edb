"""Who sees what: the one rule about things that projects own.

It asks who is behind the request at hand. Inside, where nobody asks, everything is seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Engine,
    LargeBinary,
    delete,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.orm import Session

from database import reading
from orchestrator.accounts.identity import Role, asking
from orchestrator.errors import ProjectChoiceError, UnknownProjectError
from orchestrator.projects.tables import DEFAULT, MemberRow, OwnedRow, ProjectRow

_AT_ONCE = 500


class Kind(StrEnum):
    IMAGE = "image"
    DEPLOYMENT = "deployment"


class Ownership:
    """Thread-safe. Methods with a `session` belong to the caller's transaction."""

    def __init__(self, engine: Engine) -> None:
        """`engine` with the tables of `migrate_projects`."""
        self._engine = engine

    # --- who asks

    def visible(self) -> frozenset[str] | None:
        """The projects of who asks; None is all of them."""
        who = asking()
        if who is None or who.role is Role.ADMINISTRATOR:
            return None
        if who.user_id is None:
            return frozenset({DEFAULT})
        with reading(self._engine) as session:
            his = select(MemberRow.project).where(MemberRow.user_id == who.user_id)
            return frozenset(session.scalars(his))

    def choose(self, project: str | None) -> str:
        """The project that something new belongs to. Raises UnknownProjectError or
        ProjectChoiceError."""
        visible = self.visible()
        if project is None:
            if visible is None:
                return DEFAULT
            if len(visible) > 1:
                raise ProjectChoiceError(
                    f"You have several projects: {', '.join(sorted(visible))}.",
                    next_step="Say which one it shall belong to.",
                )
            if not visible:
                raise ProjectChoiceError(
                    "You are in no project.", next_step="Ask an administrator for one."
                )
            return next(iter(visible))
        with reading(self._engine) as session:
            exists = session.get(ProjectRow, project) is not None
        if not exists or (visible is not None and project not in visible):
            raise UnknownProjectError(
                f"There is no project {project}.",
                next_step="`qnfv project list` shows yours.",
            )
        return project

    # --- looking

    def among(self, kind: Kind, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """The condition that what `column` names may be known to who asks."""
        visible = self.visible()
        if visible is None:
            return true()
        same = (OwnedRow.kind == kind.value, OwnedRow.thing == type_coerce(column, LargeBinary()))
        his = select(OwnedRow.project).where(*same, OwnedRow.project.in_(visible)).exists()
        if DEFAULT not in visible:
            return his
        return or_(his, ~select(OwnedRow.project).where(*same).exists())

    def sees(self, kind: Kind, thing: bytes | UUID) -> bool:
        """Whether who asks may know of it."""
        visible = self.visible()
        return visible is None or bool(self._owners(kind, [thing])[_key(thing)] & visible)

    def seen(self, kind: Kind, things: Iterable[bytes | UUID]) -> set[bytes]:
        """Those of `things` that who asks may know of, as bytes."""
        asked = list(things)
        visible = self.visible()
        if visible is None:
            return {_key(thing) for thing in asked}
        owners = self._owners(kind, asked)
        return {thing for thing, projects in owners.items() if projects & visible}

    def owners(self, kind: Kind, thing: bytes | UUID) -> list[str]:
        """Its projects, those alone that who asks may know of."""
        visible = self.visible()
        projects = self._owners(kind, [thing])[_key(thing)]
        return sorted(projects if visible is None else projects & visible)

    def _owners(self, kind: Kind, things: Collection[bytes | UUID]) -> dict[bytes, set[str]]:
        keys = [_key(thing) for thing in things]
        found: dict[bytes, set[str]] = defaultdict(set)
        with reading(self._engine) as session:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                rows = session.execute(
                    select(OwnedRow.thing, OwnedRow.project).where(
                        OwnedRow.kind == kind.value, OwnedRow.thing.in_(some)
                    )
                )
                for thing, project in rows:
                    found[bytes(thing)].add(project)
        # What was there before there were projects, and what lost its last one.
        return {key: found[key] or {DEFAULT} for key in keys}

    # --- changing

    @staticmethod
    def welcome(session: Session, user_id: UUID) -> None:
        """A new user is a member of the default project, until he is taken out of it."""
        session.add(MemberRow(project=DEFAULT, user_id=user_id))

    @staticmethod
    def own(session: Session, kind: Kind, thing: bytes | UUID, project: str) -> None:
        """Add `project` to the owners; it may be one already."""
        key = (kind.value, _key(thing), project)
        if session.get(OwnedRow, key) is None:
            session.add(OwnedRow(kind=kind.value, thing=_key(thing), project=project))

    def disown(self, session: Session, kind: Kind, thing: bytes | UUID) -> bool:
        """Take who asks out of the owners; whether nobody is left who owns it."""
        visible = self.visible()
        mine = [OwnedRow.kind == kind.value, OwnedRow.thing == _key(thing)]
        owners = set(session.scalars(select(OwnedRow.project).where(*mine)))
        leaving = owners if visible is None else owners & visible
        session.execute(delete(OwnedRow).where(*mine, OwnedRow.project.in_(leaving)))
        return owners == leaving


class NoProjects(Ownership):
    """For who keeps no projects: everything is everybody's."""

    def __init__(self) -> None: ...

    def visible(self) -> None:
        return None

    def choose(self, project: str | None) -> str:
        return project or DEFAULT

    def owners(self, kind: Kind, thing: bytes | UUID) -> list[str]:  # noqa: ARG002
        return [DEFAULT]

    @staticmethod
    def own(session: Session, kind: Kind, thing: bytes | UUID, project: str) -> None:
        """Nothing is kept."""

    def disown(self, session: Session, kind: Kind, thing: bytes | UUID) -> bool:  # noqa: ARG002
        return True


def _key(thing: bytes | UUID) -> bytes:
    return thing.bytes if isinstance(thing, UUID) else bytes(thing)
