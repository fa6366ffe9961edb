"""Sessions of people in a browser: a cookie, and a CSRF token that belongs to it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, or_, select, update

from database import reading, writing
from orchestrator.accounts.identity import Identity, Role, Via
from orchestrator.accounts.tables import SessionRow, UserRow
from orchestrator.accounts.tokens import digest_of
from timekeeping import Clock

COOKIE = "qnfv_session"
CSRF_HEADER = "X-CSRF-Token"
BY_ITSELF_HEADER = "X-Live"
"""On requests that an open page makes by itself."""
_NOTE_SEEN_EVERY = timedelta(minutes=1)
_SOURCE_CHARS = 64


@dataclass(frozen=True)
class OpenedSession:
    """What a browser is given; nobody can see it again."""

    cookie: str = field(repr=False)
    expires_at: datetime

    @property
    def csrf_token(self) -> str:
        return csrf_token_of(self.cookie)


def csrf_token_of(cookie: str) -> str:
    """What a page of this session sends along with changes; another site cannot know it."""
    key = cookie.encode("utf-8", "surrogatepass")
    return hmac.new(key, b"qnfv csrf", hashlib.sha256).hexdigest()


class Sessions:
    """Thread-safe. A session ends `life_s` after sign-in, or after `idle_s` without a request."""

    def __init__(self, engine: Engine, clock: Clock, *, life_s: float, idle_s: float) -> None:
        self._engine = engine
        self._clock = clock
        self._life = timedelta(seconds=life_s)
        self._idle = timedelta(seconds=idle_s)

    def begin(self, user: UserRow, source: str) -> OpenedSession:
        now = self._clock.now()
        cookie = secrets.token_urlsafe(32)
        with writing(self._engine) as session:
            session.execute(
                delete(SessionRow).where(
                    or_(
                        SessionRow.began_at <= now - self._life,
                        SessionRow.seen_at <= now - self._idle,
                    )
                )
            )
            session.add(
                SessionRow(
                    digest=digest_of(cookie),
                    user_id=user.user_id,
                    began_at=now,
                    seen_at=now,
                    source=source[:_SOURCE_CHARS],
                )
            )
        return OpenedSession(cookie, now + self._life)

    def identity_of(self, cookie: str, *, seen: bool = True) -> Identity | None:
        """Whose session it is, with the role that he has now; None if it is over.

        Without `seen` the request does not keep an idle session alive: nobody sits behind it.
        """
        now = self._clock.now()
        query = select(SessionRow, UserRow).join(UserRow, UserRow.user_id == SessionRow.user_id)
        with reading(self._engine) as session:
            found = session.execute(query.where(SessionRow.digest == digest_of(cookie))).first()
            if found is None:
                return None
            row, user = found
            session.expunge_all()
        if now - row.began_at >= self._life or now - row.seen_at >= self._idle:
            return None
        if seen:
            self._note_seen(row, now)
        return Identity(
            user.name, Role(user.role), Via.SESSION, user.user_id, user.must_change_password
        )

    def end(self, cookie: str) -> None:
        with writing(self._engine) as session:
            session.execute(delete(SessionRow).where(SessionRow.digest == digest_of(cookie)))

    def _note_seen(self, row: SessionRow, now: datetime) -> None:
        if now - row.seen_at < min(_NOTE_SEEN_EVERY, self._idle / 4):
            return
        with writing(self._engine) as session:
            session.execute(
                update(SessionRow).where(SessionRow.digest == row.digest).values(seen_at=now)
            )
