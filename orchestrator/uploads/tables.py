"""The table of uploads. How far one is, says the size of its file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import BigInteger, Engine, Index, LargeBinary, String
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate

MIGRATIONS = Path(__file__).parent / "migrations"
NAME = String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")
DIGEST = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


class Base(DeclarativeBase):
    pass


class UploadRow(Base):
    __tablename__ = "upload"
    __table_args__ = (Index("ix_upload_owner", "owner"), {"mysql_engine": "InnoDB"})

    upload_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    owner: Mapped[str] = mapped_column(NAME)
    """The uploader's account."""
    name: Mapped[str] = mapped_column(NAME)
    """Of the image; of a package's content a name for people."""
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[bytes | None] = mapped_column(DIGEST)
    """What the whole must come to, where the uploader said so; as `blake3`."""
    blake3: Mapped[bytes | None] = mapped_column(DIGEST)
    project: Mapped[str | None] = mapped_column(NAME)
    """Whose the image will be."""
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    touched_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    image_digest: Mapped[bytes | None] = mapped_column(DIGEST)
    """The catalogue's image, once it is whole."""
    vnf_package_id: Mapped[UUID | None] = mapped_column(BinaryUuid)
    """The VNF package whose content it is; the others are images for the catalogue."""
    finished_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    """When all of it was handed over."""


def migrate_uploads(engine: Engine) -> None:
    """Bring the table to its newest form; safe at every start."""
    migrate(engine, MIGRATIONS, room="uploads")
