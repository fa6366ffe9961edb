"""Tables of circuits. Primary keys say that a port serves one circuit and an owner has one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import Double, Engine, ForeignKey, Index, String
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate

# Binary collation on MySQL: names that differ in case are different names, as on SQLite.
NAME = String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")
OWNER = String(191).with_variant(mysql.VARCHAR(191, collation="utf8mb4_bin"), "mysql")


class Base(DeclarativeBase):
    pass


class CircuitRow(Base):
    __tablename__ = "network_circuit"

    id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(32))
    from_end_point: Mapped[str] = mapped_column(NAME)
    to_end_point: Mapped[str] = mapped_column(NAME)
    km: Mapped[float] = mapped_column(Double)
    loss_db: Mapped[float] = mapped_column(Double)
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    established_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    bandwidth_class: Mapped[str | None] = mapped_column(String(8))


class CrossConnectRow(Base):
    __tablename__ = "network_cross_connect"

    circuit_id: Mapped[UUID] = mapped_column(
        BinaryUuid, ForeignKey("network_circuit.id"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    chassis: Mapped[str] = mapped_column(NAME)
    in_port: Mapped[int]
    out_port: Mapped[int]


class PortUseRow(Base):
    """A port that is taken. The primary key is the exclusivity."""

    __tablename__ = "network_port_use"

    chassis: Mapped[str] = mapped_column(NAME, primary_key=True)
    port: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    circuit_id: Mapped[UUID] = mapped_column(BinaryUuid, ForeignKey("network_circuit.id"))

    __table_args__ = (Index("ix_network_port_use_circuit", "circuit_id"),)


class OwnerRow(Base):
    """Who owns a circuit; an owner has one at a time."""

    __tablename__ = "network_circuit_owner"

    owner: Mapped[str] = mapped_column(OWNER, primary_key=True)
    circuit_id: Mapped[UUID] = mapped_column(BinaryUuid, ForeignKey("network_circuit.id"))
    position: Mapped[int]
    until: Mapped[datetime | None] = mapped_column(MicrosecondTime)

    __table_args__ = (Index("ix_network_circuit_owner_circuit", "circuit_id"),)


class WaitingRow(Base):
    """Who waits for free ports."""

    __tablename__ = "network_waiting"

    owner: Mapped[str] = mapped_column(OWNER, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(32))
    from_end_point: Mapped[str] = mapped_column(NAME)
    to_end_point: Mapped[str] = mapped_column(NAME)
    requested_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    bandwidth_class: Mapped[str | None] = mapped_column(String(8))


def migrate_network(engine: Engine) -> None:
    """Bring the tables to their newest form; safe at every start."""
    migrate(engine, Path(__file__).parent / "migrations", room="network")
