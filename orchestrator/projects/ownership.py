"""Who sees what: the one rule about things that projects own.

It asks who is behind the request at hand. Inside, where nobody asks, everything is seen. What has
no owner is seen by administrators alone.
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
    func,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.orm import Session

from database import in_batches, reading
from orchestrator.accounts.identity import Role, asking
from orchestrator.errors import ProjectChoiceError, UnknownProjectError
from orchestrator.projects.tables import DEFAULT, MemberRow, OwnedRow, ProjectRow


class Kind(StrEnum):
    IMAGE = "image"
    DEPLOYMENT = "deployment"
    PACKAGE = "vnf-package"


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
        return select(OwnedRow.project).where(*same, OwnedRow.project.in_(visible)).exists()

    def called(
        self, kind: Kind, column: ColumnElement[Any], name: str, *, at_first: ColumnElement[Any]
    ) -> ColumnElement[bool]:
        """The condition that a project of who asks calls what `column` names `name`; a project
        that gave it no name of its own calls it as `at_first` says."""
        visible = self.visible()
        his = select(OwnedRow.project).where(
            OwnedRow.kind == kind.value,
            OwnedRow.thing == type_coerce(column, LargeBinary()),
            func.coalesce(OwnedRow.name, at_first) == name,
        )
        if visible is None:
            return or_(at_first == name, his.exists())
        return his.where(OwnedRow.project.in_(visible)).exists()

    def names(self, kind: Kind, things: Iterable[bytes]) -> dict[bytes, str]:
        """How the projects of who asks call each of `things`, of those that have a name there."""
        visible = self.visible()
        if visible is None:
            return {}
        found: dict[bytes, str] = {}
        with reading(self._engine) as session:
            for some in in_batches(things):
                rows = session.execute(
                    select(OwnedRow.thing, OwnedRow.name)
                    .where(
                        OwnedRow.kind == kind.value,
                        OwnedRow.thing.in_(some),
                        OwnedRow.project.in_(visible),
                        OwnedRow.name.is_not(None),
                    )
                    .order_by(OwnedRow.project.desc())  # of several the first one stays
                )
                found.update({bytes(thing): name for thing, name in rows if name is not None})
        return found

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
        return self.owners_of(kind, [thing])[_key(thing)]

    def owners_of(self, kind: Kind, things: Iterable[bytes | UUID]) -> dict[bytes, list[str]]:
        """`owners` of each of `things`, by its bytes."""
        visible = self.visible()
        return {
            thing: sorted(projects if visible is None else projects & visible)
            for thing, projects in self._owners(kind, list(things)).items()
        }

    def _owners(self, kind: Kind, things: Collection[bytes | UUID]) -> dict[bytes, set[str]]:
        keys = [_key(thing) for thing in things]
        found: dict[bytes, set[str]] = defaultdict(set)
        with reading(self._engine) as session:
            for some in in_batches(keys):
                rows = session.execute(
                    select(OwnedRow.thing, OwnedRow.project).where(
                        OwnedRow.kind == kind.value, OwnedRow.thing.in_(some)
                    )
                )
                for thing, project in rows:
                    found[bytes(thing)].add(project)
        return {key: found[key] for key in keys}

    # --- changing

    @staticmethod
    def welcome(session: Session, user_id: UUID) -> None:
        """A new user is a member of the default project, until he is taken out of it."""
        session.add(MemberRow(project=DEFAULT, user_id=user_id))

    @staticmethod
    def is_free(session: Session, kind: Kind, thing: bytes | UUID, project: str) -> bool:
        """Whether no other project owns it."""
        return not _owners_in(session, kind, thing) - {project}

    @staticmethod
    def own(
        session: Session,
        kind: Kind,
        thing: bytes | UUID,
        project: str,
        *,
        name: str | None = None,
        was_there: bool = False,
    ) -> None:
        """Add `project` to the owners, and what it calls it; it may be one already.

        What `was_there` without an owner becomes the default project's too: who adds the same
        must not be the only one to decide about it.
        """
        owners = _owners_in(session, kind, thing)
        joining = {project} if owners or not was_there else {project, DEFAULT}
        session.add_all(
            OwnedRow(
                kind=kind.value,
                thing=_key(thing),
                project=each,
                name=name if each == project else None,
            )
            for each in sorted(joining - owners)
        )

    def disown(self, session: Session, kind: Kind, thing: bytes | UUID) -> bool:
        """Take who asks out of the owners; whether nobody is left who owns it."""
        visible = self.visible()
        owners = _owners_in(session, kind, thing)
        leaving = owners if visible is None else owners & visible
        session.execute(
            delete(OwnedRow).where(
                OwnedRow.kind == kind.value,
                OwnedRow.thing == _key(thing),
                OwnedRow.project.in_(leaving),
            )
        )
        return owners == leaving and (visible is None or bool(leaving))


class NoProjects(Ownership):
    """For who keeps no projects: everything is everybody's."""

    def __init__(self) -> None: ...

    def visible(self) -> None:
        return None

    def choose(self, project: str | None) -> str:
        return project or DEFAULT

    def owners_of(self, kind: Kind, things: Iterable[bytes | UUID]) -> dict[bytes, list[str]]:  # noqa: ARG002
        return {_key(thing): [DEFAULT] for thing in things}

    def called(
        self,
        kind: Kind,  # noqa: ARG002
        column: ColumnElement[Any],  # noqa: ARG002
        name: str,
        *,
        at_first: ColumnElement[Any],
    ) -> ColumnElement[bool]:
        return at_first == name

    @staticmethod
    def is_free(session: Session, kind: Kind, thing: bytes | UUID, project: str) -> bool:  # noqa: ARG004
        return True

    @staticmethod
    def own(*_: Any, **__: Any) -> None:
        """Nothing is kept."""

    def disown(self, session: Session, kind: Kind, thing: bytes | UUID) -> bool:  # noqa: ARG002
        return True


def _owners_in(session: Session, kind: Kind, thing: bytes | UUID) -> set[str]:
    mine = (OwnedRow.kind == kind.value, OwnedRow.thing == _key(thing))
    return set(session.scalars(select(OwnedRow.project).where(*mine)))


def _key(thing: bytes | UUID) -> bytes:
    return thing.bytes if isinstance(thing, UUID) else bytes(thing)
