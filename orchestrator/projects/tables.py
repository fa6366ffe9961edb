"""Projects, their members, and what they own."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, ForeignKey, Index, LargeBinary, String
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate

MIGRATIONS = Path(__file__).parent / "migrations"
NAME = String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")
THING_NAME = String(128).with_variant(mysql.VARCHAR(128, collation="utf8mb4_bin"), "mysql")
DEFAULT = "default"
"""Every new user's, and the owner of all that was there before projects; it always exists."""


class Base(DeclarativeBase):
    pass


class ProjectRow(Base):
    __tablename__ = "project"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)


class MemberRow(Base):
    """Administrators need no membership."""

    __tablename__ = "project_member"
    __table_args__ = (Index("ix_project_member_user", "user_id"), {"mysql_engine": "InnoDB"})

    project: Mapped[str] = mapped_column(
        NAME, ForeignKey("project.name", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)


class OwnedRow(Base):
    """An image may have several owners, a deployment has one."""

    __tablename__ = "project_owned"
    __table_args__ = (Index("ix_project_owned_project", "project"), {"mysql_engine": "InnoDB"})

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    thing: Mapped[bytes] = mapped_column(
        LargeBinary(32).with_variant(mysql.VARBINARY(32), "mysql"), primary_key=True
    )
    """Digest of an image, id of a deployment."""
    project: Mapped[str] = mapped_column(NAME, ForeignKey("project.name"), primary_key=True)
    name: Mapped[str | None] = mapped_column(THING_NAME)
    """What the project calls it, where that may differ from what others do."""


def migrate_projects(engine: Engine) -> None:
    """Bring the tables of projects on `engine` to their newest form."""
    migrate(engine, MIGRATIONS, room="projects")
