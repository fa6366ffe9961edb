"""Tables of the key store. The same ones stand at both ends of a link."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate

MIGRATIONS = Path(__file__).parent / "migrations"

# Names compare byte by byte on MySQL too.
Name = String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")
Digest = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


class Base(DeclarativeBase):
    pass


class KeyRow(Base):
    """One key of one link; after its end a tombstone without key bytes."""

    __tablename__ = "key_ledger"
    __table_args__ = (
        UniqueConstraint("fingerprint", name="uq_key_ledger_fingerprint"),
        Index("ix_key_ledger_pool", "link", "state", "made_at"),
        Index("ix_key_ledger_owner", "owner"),
        Index("ix_key_ledger_epoch", "epoch"),
        Index("ix_key_ledger_turn", "turn"),
        {"mysql_engine": "InnoDB"},
    )

    key_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    link: Mapped[str] = mapped_column(Name)
    state: Mapped[str] = mapped_column(String(16))
    epoch: Mapped[UUID] = mapped_column(BinaryUuid)
    """The batch that the key came in; it names the wrapping key too."""
    turn: Mapped[UUID | None] = mapped_column(BinaryUuid)
    """Alice's turn that made the key, or the route that brought it; what is quarantined at once."""
    vendor_key_id: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    wrapped: Mapped[bytes | None] = mapped_column(LargeBinary(64))
    fingerprint: Mapped[bytes] = mapped_column(Digest)
    """HMAC-SHA256(ledger secret, link and key): the same key cannot enter twice."""
    emulated: Mapped[bool]
    owner: Mapped[UUID | None] = mapped_column(BinaryUuid)
    made_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    changed_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    reason: Mapped[str | None] = mapped_column(String(255))


class KeyUseRow(Base):
    """Insert-only: the message that a key protects. Its primary key is what makes use single."""

    __tablename__ = "key_use"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    link: Mapped[str] = mapped_column(Name, primary_key=True)
    key_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    transfer_id: Mapped[UUID] = mapped_column(BinaryUuid)
    image_digest: Mapped[bytes] = mapped_column(Digest)
    destination: Mapped[str] = mapped_column(Name)
    armed_at: Mapped[datetime] = mapped_column(MicrosecondTime)


class KeyAccountRow(Base):
    """How many keys of a link ever entered this store; the states must add up to it."""

    __tablename__ = "key_account"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    link: Mapped[str] = mapped_column(Name, primary_key=True)
    made: Mapped[int]


def migrate_keys(engine: Engine) -> None:
    """Bring the key store's tables on `engine` to their newest form."""
    migrate(engine, MIGRATIONS, room="keys")
