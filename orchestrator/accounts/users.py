"""Users and their passwords."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import in_transaction, reading, writing
from orchestrator.accounts.identity import LOCAL, Role
from orchestrator.accounts.passwords import Passwords
from orchestrator.accounts.tables import SessionRow, TokenRow, UserRow
from orchestrator.errors import (
    AccountError,
    LastAdministratorError,
    NameTakenError,
    SignInError,
    UnknownUserError,
)
from timekeeping import Clock

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
RESERVED = frozenset({LOCAL.name, "orchestrator", "nobody"})
"""Names under which others appear in the audit."""


class Users:
    """Thread-safe; every method is one transaction."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        passwords: Passwords,
        on_added: Callable[[Session, UUID], None] = lambda _session, _user_id: None,
    ) -> None:
        """`on_added` is called within the transaction that adds a user."""
        self._engine = engine
        self._clock = clock
        self._passwords = passwords
        self._on_added = on_added

    def add(
        self, name: str, role: Role, password: str, *, must_change_password: bool = False
    ) -> UserRow:
        """Raises AccountError, NameTakenError or WeakPasswordError."""
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise AccountError(
                "A user's name is 1 to 63 of a-z, 0-9, '.' and '-', and none of "
                f"{', '.join(sorted(RESERVED))}.",
                next_step="Choose another name.",
            )
        now = self._clock.now()
        row = UserRow(
            user_id=uuid4(),
            name=name,
            role=role.value,
            password_hash=self._passwords.hash(password),
            must_change_password=must_change_password,
            created_at=now,
            password_at=now,
            signed_in_at=None,
        )
        try:
            with writing(self._engine) as session:
                session.add(row)
                session.flush()
                self._on_added(session, row.user_id)
        except IntegrityError as error:
            raise NameTakenError(
                f"There is a user {name} already.", next_step="Choose another name."
            ) from error
        return row

    def all(self) -> list[UserRow]:
        with reading(self._engine) as session:
            rows = list(session.scalars(select(UserRow).order_by(UserRow.name)))
            session.expunge_all()
            return rows

    def named(self, name: str) -> UserRow:
        with reading(self._engine) as session:
            row = _named(session, name)
            session.expunge(row)
            return row

    def with_id(self, user_id: UUID) -> UserRow | None:
        with reading(self._engine) as session:
            row = session.get(UserRow, user_id)
            if row is not None:
                session.expunge(row)
            return row

    def is_empty(self) -> bool:
        with reading(self._engine) as session:
            return session.scalar(select(func.count()).select_from(UserRow)) == 0

    def set_password(self, name: str, password: str, *, must_change: bool = False) -> None:
        """The user's sessions end; tokens stay. Raises WeakPasswordError or UnknownUserError."""
        hashed = self._passwords.hash(password)

        def change(session: Session) -> None:
            row = _named(session, name)
            row.password_hash = hashed
            row.password_at = self._clock.now()
            row.must_change_password = must_change
            session.execute(delete(SessionRow).where(SessionRow.user_id == row.user_id))

        in_transaction(self._engine, change)

    def set_role(self, name: str, role: Role) -> UserRow:
        """It counts from the next request on. Raises LastAdministratorError."""

        def change(session: Session) -> UserRow:
            row = self._in_place_of_administrators(session, name, stays=role is Role.ADMINISTRATOR)
            row.role = role.value
            return row

        return in_transaction(self._engine, change)

    def delete(self, name: str) -> None:
        """With the user's tokens and sessions. Raises LastAdministratorError."""

        def remove(session: Session) -> None:
            row = self._in_place_of_administrators(session, name, stays=False)
            session.execute(delete(SessionRow).where(SessionRow.user_id == row.user_id))
            session.execute(delete(TokenRow).where(TokenRow.user_id == row.user_id))
            session.delete(row)

        in_transaction(self._engine, remove)

    def check(self, name: str, password: str) -> UserRow:
        """The user whose password this is.

        Raises SignInError, which does not tell whether there is such a user; nor does the time.
        """
        try:
            row: UserRow | None = self.named(name)
        except UnknownUserError:
            row = None
        if not self._passwords.verify(password, row.password_hash if row else None) or row is None:
            raise SignInError(
                "User and password do not belong together.",
                next_step="Try again, or ask an administrator for a new password.",
            )
        self._note_sign_in(row, password)
        return row

    def _note_sign_in(self, row: UserRow, password: str) -> None:
        values: dict[str, Any] = {"signed_in_at": self._clock.now()}
        if self._passwords.is_outdated(row.password_hash):
            values["password_hash"] = self._passwords.hash(password)
        with writing(self._engine) as session:
            # A password that was changed meanwhile stays changed.
            session.execute(
                update(UserRow)
                .where(UserRow.user_id == row.user_id, UserRow.password_hash == row.password_hash)
                .values(**values)
            )

    @staticmethod
    def _in_place_of_administrators(session: Session, name: str, *, stays: bool) -> UserRow:
        """The user, with all administrators locked, so that two cannot remove each other."""
        administrators = session.scalars(
            select(UserRow)
            .where(UserRow.role == Role.ADMINISTRATOR.value)
            .order_by(UserRow.user_id)
            .with_for_update()
        ).all()
        row = _named(session, name)
        if not stays and [one.name for one in administrators] == [name]:
            raise LastAdministratorError(
                f"{name} is the only administrator.",
                next_step="Make somebody else administrator first.",
            )
        return row


def _named(session: Session, name: str) -> UserRow:
    row = session.scalars(select(UserRow).where(UserRow.name == name)).first()
    if row is None:
        raise UnknownUserError(
            f"There is no user {name}.", next_step="`qnfv user list` shows those there are."
        )
    return row
