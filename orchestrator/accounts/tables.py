"""Tables of accounts. What opens a door is kept as a hash alone."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate

MIGRATIONS = Path(__file__).parent / "migrations"
NAME = String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")
DIGEST = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


class Base(DeclarativeBase):
    pass


class UserRow(Base):
    __tablename__ = "account_user"
    __table_args__ = (
        UniqueConstraint("name", name="uq_account_user_name"),
        {"mysql_engine": "InnoDB"},
    )

    user_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(255))
    must_change_password: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    password_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    signed_in_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)

    def __repr__(self) -> str:
        return f"UserRow(name={self.name!r}, role={self.role!r})"


class TokenRow(Base):
    __tablename__ = "account_token"
    __table_args__ = (
        UniqueConstraint("digest", name="uq_account_token_digest"),
        UniqueConstraint("user_id", "name", name="uq_account_token_name"),
        {"mysql_engine": "InnoDB"},
    )

    token_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(
        BinaryUuid, ForeignKey("account_user.user_id", ondelete="CASCADE")
    )
    name: Mapped[str] = mapped_column(NAME)
    digest: Mapped[bytes] = mapped_column(DIGEST)
    """SHA-256: a token is 256 random bits, nobody can try them all."""
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    expires_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    used_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)

    def __repr__(self) -> str:
        return f"TokenRow(name={self.name!r}, role={self.role!r})"


class SessionRow(Base):
    __tablename__ = "account_session"
    __table_args__ = (
        Index("ix_account_session_user", "user_id"),
        {"mysql_engine": "InnoDB"},
    )

    digest: Mapped[bytes] = mapped_column(DIGEST, primary_key=True)
    """SHA-256 of what the cookie holds."""
    user_id: Mapped[UUID] = mapped_column(
        BinaryUuid, ForeignKey("account_user.user_id", ondelete="CASCADE")
    )
    began_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    seen_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    source: Mapped[str] = mapped_column(String(64))

    def __repr__(self) -> str:
        return f"SessionRow(user_id={self.user_id})"


def migrate_accounts(engine: Engine) -> None:
    """Bring the accounts' tables on `engine` to their newest form."""
    migrate(engine, MIGRATIONS, room="accounts")
