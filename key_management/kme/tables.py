"""Tables of a KME: which blocks make which delivered key, for whom, and who has it already."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from sqlalchemy import BigInteger, Engine, Index, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate
from key_management.tables import Digest, Name

MIGRATIONS = Path(__file__).parent / "migrations"


class BatchState(StrEnum):
    OPEN = "OPEN"
    """Being allocated; what the other end knows of it is not certain."""
    AGREED = "AGREED"
    """Both ends set the same blocks aside; its keys may be delivered."""
    GIVEN_UP = "GIVEN_UP"
    """Its blocks are burned, or went back before the other end heard of them."""


class DeliveryState(StrEnum):
    WAITING = "WAITING"
    DELIVERED = "DELIVERED"
    """Every SAE of this end that was named has it; erased here."""
    EXPIRED = "EXPIRED"
    """Not fetched in time; erased here."""
    GIVEN_UP = "GIVEN_UP"


class Receiver(StrEnum):
    MASTER = "master"
    SLAVE = "slave"


class Base(DeclarativeBase):
    pass


class BatchRow(Base):
    """The keys of one request. Written before anything is reserved, at both ends."""

    __tablename__ = "kme_batch"
    __table_args__ = (
        Index("ix_kme_batch_state", "state", "created_at"),
        Index("ix_kme_batch_pair", "master_sae", "slave_sae", "created_at"),
        {"mysql_engine": "InnoDB"},
    )

    batch_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    link: Mapped[str] = mapped_column(Name)
    state: Mapped[str] = mapped_column(String(16))
    master_sae: Mapped[str] = mapped_column(Name)
    slave_sae: Mapped[str] = mapped_column(Name)
    """The first slave, which the master named in the path."""
    size_bit: Mapped[int]
    key_count: Mapped[int]
    emulated: Mapped[bool]
    digest: Mapped[bytes | None] = mapped_column(Digest)
    """SHA-256 of the allocation; the message that its blocks are armed for."""
    peer_told: Mapped[bool]
    """Of a batch that was given up: the other end knows."""
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    changed_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    reason: Mapped[str | None] = mapped_column(String(255))


class DeliveryRow(Base):
    """One key under the id that applications know; after its end a tombstone."""

    __tablename__ = "kme_delivery"
    __table_args__ = (
        Index("ix_kme_delivery_batch", "batch_id"),
        Index("ix_kme_delivery_erased", "erased", "state"),
        {"mysql_engine": "InnoDB"},
    )

    key_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    batch_id: Mapped[UUID] = mapped_column(BinaryUuid)
    state: Mapped[str] = mapped_column(String(16))
    erased: Mapped[bool]
    """The ledger has erased its blocks."""
    changed_at: Mapped[datetime] = mapped_column(MicrosecondTime)


class BlockRow(Base):
    """A block of the link in its place in a key. Its primary key lets it serve one key only."""

    __tablename__ = "kme_block"
    __table_args__ = (Index("ix_kme_block_key", "key_id"), {"mysql_engine": "InnoDB"})

    link: Mapped[str] = mapped_column(Name, primary_key=True)
    block_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    key_id: Mapped[UUID] = mapped_column(BinaryUuid)
    position: Mapped[int]


class ReceiverRow(Base):
    """An SAE of this end that may have the key, once in each role."""

    __tablename__ = "kme_receiver"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    key_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    role: Mapped[str] = mapped_column(String(8), primary_key=True)
    sae: Mapped[str] = mapped_column(Name, primary_key=True)
    delivered_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)


class SequenceRow(Base):
    """One row: how often keys were delivered. Compared with a mark outside the database."""

    __tablename__ = "kme_sequence"
    __table_args__ = ({"mysql_engine": "InnoDB"},)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    deliveries: Mapped[int] = mapped_column(BigInteger)


def migrate_kme(engine: Engine) -> None:
    """Bring the KME's tables on `engine` to their newest form."""
    migrate(engine, MIGRATIONS, room="kme")
