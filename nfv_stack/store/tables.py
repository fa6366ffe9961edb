"""What a slave stack must know after a crash."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Date, Engine, Index, LargeBinary, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate

MIGRATIONS = Path(__file__).parent / "migrations"

Name = String(128).with_variant(mysql.VARCHAR(128, collation="utf8mb4_bin"), "mysql")
Digest = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


class Base(DeclarativeBase):
    pass


class TransferRow(Base):
    """One image on its way here, and how it ended."""

    __tablename__ = "slave_transfer"
    __table_args__ = (Index("ix_slave_transfer_image", "vim_image_id"), {"mysql_engine": "InnoDB"})

    transfer_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    link: Mapped[str] = mapped_column(Name)
    key_id: Mapped[UUID] = mapped_column(BinaryUuid)
    key_source: Mapped[str] = mapped_column(String(16))
    sender: Mapped[str] = mapped_column(Name)
    suite: Mapped[str] = mapped_column(String(32))
    chunk_log2: Mapped[int]
    image_digest: Mapped[bytes] = mapped_column(Digest)
    image_size: Mapped[int] = mapped_column(BigInteger)
    image_format: Mapped[str] = mapped_column(String(32))
    vim_image_id: Mapped[str] = mapped_column(Name)
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    pad_blocks: Mapped[list[str] | None] = mapped_column(JSON)
    """Ids of a one-time pad's blocks, in hex."""
    opened_digest: Mapped[bytes | None] = mapped_column(Digest)
    opened_image_id: Mapped[str | None] = mapped_column(Name)
    """Digest and id that came under a one-time pad."""
    image_was_present: Mapped[bool]
    """The VIM held this image before the stream began, and no transfer had brought it, so it is not
    ours to remove. Also once what this transfer brought is gone."""
    placed_image_id: Mapped[str | None] = mapped_column(Name)
    receipt: Mapped[bytes | None] = mapped_column(LargeBinary(1024))
    error: Mapped[str | None] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(MicrosecondTime)

    @property
    def blocks(self) -> list[UUID]:
        """The blocks of its one-time pad, in their order."""
        return [UUID(hex=block) for block in self.pad_blocks or ()]

    @property
    def digest_of_image(self) -> bytes:
        """BLAKE3 of the image itself; under a one-time pad known once it was opened."""
        return self.opened_digest or self.image_digest

    @property
    def id_of_image(self) -> str:
        """The VIM's id of the image; empty while a one-time pad still hides it."""
        return self.placed_image_id or self.opened_image_id or self.vim_image_id


class InstanceRow(Base):
    """An instance that we were asked to run."""

    __tablename__ = "slave_instance"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    instance_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    transfer_id: Mapped[UUID] = mapped_column(BinaryUuid)
    name: Mapped[str] = mapped_column(Name)
    image_digest: Mapped[bytes] = mapped_column(Digest)
    placed_image_id: Mapped[str] = mapped_column(Name)
    memory_mib: Mapped[int]
    cpus: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)


class CommandOrderRow(Base):
    """The latest command to an instance; it stays when the instance is removed."""

    __tablename__ = "slave_command_order"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    instance_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    operation: Mapped[int] = mapped_column(BigInteger)
    claim: Mapped[int]


class AuditHeadRow(Base):
    """Where the audit chain of an orchestrator ended, as it said and signed."""

    __tablename__ = "slave_audit_head"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    orchestrator: Mapped[str] = mapped_column(Name, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(Digest)
    at: Mapped[datetime] = mapped_column(MicrosecondTime)
    signature: Mapped[str] = mapped_column(String(256))
    certificate: Mapped[str] = mapped_column(Text)
    first_of_day: Mapped[date | None] = mapped_column(Date)
    """The day (UTC, by our clock) on which it was the first to come; such a head stays."""


def migrate_slave(engine: Engine) -> None:
    """Bring the slave stack's tables on `engine` to their newest form."""
    migrate(engine, MIGRATIONS, room="slave")
