"""API tokens: for programs, in a user's name."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.exc import IntegrityError

from database import reading, writing
from orchestrator.accounts.identity import Identity, Role, Via
from orchestrator.accounts.tables import TokenRow, UserRow
from orchestrator.errors import AccountError, NameTakenError, UnknownTokenError
from timekeeping import Clock

PREFIX = "qnfv_"
"""So that a token that lies about in a file or a repository is known for what it is."""
_NOTE_USE_EVERY = timedelta(minutes=1)


class Tokens:
    """Thread-safe; every method is one transaction."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def create(
        self, user: UserRow, name: str, role: Role, expires_at: datetime | None
    ) -> tuple[TokenRow, str]:
        """The token, and its text, which nobody can see again.

        Raises AccountError where `role` is above the user's, NameTakenError where he has a token
        of this name.
        """
        if not Role(user.role).covers(role):
            raise AccountError(
                f"{user.name} is {user.role}; a token cannot be {role}.",
                next_step="Choose a lower role.",
            )
        text = PREFIX + secrets.token_urlsafe(32)
        row = TokenRow(
            token_id=uuid4(),
            user_id=user.user_id,
            name=name,
            digest=digest_of(text),
            role=role.value,
            created_at=self._clock.now(),
            expires_at=expires_at,
            used_at=None,
        )
        try:
            with writing(self._engine) as session:
                session.add(row)
        except IntegrityError as error:
            raise NameTakenError(
                f"{user.name} has a token {name} already.",
                next_step="Choose another name, or revoke that one.",
            ) from error
        return row, text

    def all(self, user_id: UUID | None = None) -> list[tuple[TokenRow, str]]:
        """Tokens with their user's name; of one user, or of all."""
        query = select(TokenRow, UserRow.name).join(UserRow, UserRow.user_id == TokenRow.user_id)
        if user_id is not None:
            query = query.where(TokenRow.user_id == user_id)
        with reading(self._engine) as session:
            rows = [
                (row, name) for row, name in session.execute(query.order_by(TokenRow.created_at))
            ]
            session.expunge_all()
            return rows

    def revoke(self, token_id: UUID, owner: UUID | None = None) -> TokenRow:
        """It opens nothing from now on. With `owner`, only if it is his."""
        with writing(self._engine) as session:
            row = session.get(TokenRow, token_id)
            if row is None or (owner is not None and row.user_id != owner):
                raise UnknownTokenError(
                    f"There is no token {token_id}.",
                    next_step="`qnfv token list` shows those there are.",
                )
            session.execute(delete(TokenRow).where(TokenRow.token_id == token_id))
            return row

    def identity_of(self, text: str) -> Identity | None:
        """Who this token speaks for, with the lower of its role and the user's."""
        if not text.startswith(PREFIX):
            return None
        now = self._clock.now()
        query = select(TokenRow, UserRow).join(UserRow, UserRow.user_id == TokenRow.user_id)
        with reading(self._engine) as session:
            found = session.execute(query.where(TokenRow.digest == digest_of(text))).first()
            if found is None:
                return None
            token, user = found
            session.expunge_all()
        if token.expires_at is not None and token.expires_at <= now:
            return None
        self._note_use(token, now)
        role, own = Role(token.role), Role(user.role)
        return Identity(
            user.name,
            role if own.covers(role) else own,
            Via.TOKEN,
            user.user_id,
            until=token.expires_at,
        )

    def _note_use(self, token: TokenRow, now: datetime) -> None:
        if token.used_at is not None and now - token.used_at < _NOTE_USE_EVERY:
            return
        with writing(self._engine) as session:
            session.execute(
                update(TokenRow).where(TokenRow.token_id == token.token_id).values(used_at=now)
            )


def digest_of(text: str) -> bytes:
    """SHA-256 (32 bytes) of a random text of 256 bits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
