"""Tables of the audit chain."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy import BigInteger, Engine, Index, LargeBinary, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import MicrosecondTime, migrate

MIGRATIONS = Path(__file__).parent / "migrations"
Hash = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")
# Binary collation on MySQL: what is read must be what was hashed.
Word = String(191).with_variant(mysql.VARCHAR(191, collation="utf8mb4_bin"), "mysql")
Words = Text().with_variant(mysql.TEXT(collation="utf8mb4_bin"), "mysql")


class Base(DeclarativeBase):
    pass


class AuditRow(Base):
    """One record. Rows are only ever inserted."""

    __tablename__ = "audit_record"
    __table_args__ = (Index("ix_audit_record_at", "at"), {"mysql_engine": "InnoDB"})

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(MicrosecondTime)
    who: Mapped[str] = mapped_column(Word)
    role: Mapped[str] = mapped_column(Word)
    via: Mapped[str] = mapped_column(Word)
    source: Mapped[str] = mapped_column(Word)
    action: Mapped[str] = mapped_column(Word)
    outcome: Mapped[str] = mapped_column(Word)
    subjects: Mapped[str] = mapped_column(Words)
    """A JSON object of texts."""
    previous_hash: Mapped[bytes] = mapped_column(Hash)
    own_hash: Mapped[bytes] = mapped_column(Hash)


class AuditHeadRow(Base):
    """The chain's end; its one row is locked by whoever appends."""

    __tablename__ = "audit_head"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(Hash)


class AuditOnceRow(Base):
    """What must be told exactly once, though a crash may come between event and record."""

    __tablename__ = "audit_once"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    event: Mapped[str] = mapped_column(Word, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)


def migrate_audit(engine: Engine) -> None:
    """Bring the audit's tables on `engine` to their newest form."""
    migrate(engine, MIGRATIONS, room="audit")
