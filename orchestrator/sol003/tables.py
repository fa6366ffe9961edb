"""VNF instances that were asked for by SOL003, also before and after there is a deployment."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Engine, Index, LargeBinary, String
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate

MIGRATIONS = Path(__file__).parent / "migrations"
_INNODB = {"mysql_engine": "InnoDB"}


class Base(DeclarativeBase):
    pass


class VnfInstanceRow(Base):
    __tablename__ = "sol003_vnf_instance"
    __table_args__ = (Index("ix_sol003_vnf_instance_package", "package_id"), _INNODB)

    vnf_instance_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    image_digest: Mapped[bytes] = mapped_column(
        LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")
    )
    package_id: Mapped[UUID | None] = mapped_column(BinaryUuid)
    """The uploaded VNF package that it is of; none where it is of an image of the catalogue."""
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(String(1024))
    key_values: Mapped[dict[str, Any]] = mapped_column(JSON)
    """SOL003's `metadata`."""
    deployment_id: Mapped[UUID] = mapped_column(BinaryUuid)
    """Its present or next deployment; until it is instantiated there is none of this id."""
    version: Mapped[int]
    """One more at each change of this row."""
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)


class InstantiationRow(Base):
    """Which instance a deployment is or was: one that was terminated can be instantiated again."""

    __tablename__ = "sol003_instantiation"
    __table_args__ = (Index("ix_sol003_instantiation_instance", "vnf_instance_id"), _INNODB)

    deployment_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    vnf_instance_id: Mapped[UUID] = mapped_column(BinaryUuid)


class InfoChangeRow(Base):
    """A MODIFY_INFO occurrence: done in the transaction that records it."""

    __tablename__ = "sol003_info_change"
    __table_args__ = (Index("ix_sol003_info_change_instance", "vnf_instance_id"), _INNODB)

    occurrence_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    vnf_instance_id: Mapped[UUID] = mapped_column(BinaryUuid)
    changes: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(MicrosecondTime)


def migrate_sol003(engine: Engine) -> None:
    """Bring the tables of VNF instances on `engine` to their newest form."""
    migrate(engine, MIGRATIONS, room="sol003")
