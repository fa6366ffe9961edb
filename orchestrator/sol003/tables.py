"""VNF instances that were asked for by SOL003, also before and after there is a deployment."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Engine, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate

MIGRATIONS = Path(__file__).parent / "migrations"
VduName = String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql")
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
    """Which instance a deployment is or was, or is part of: one that was terminated can be
    instantiated again."""

    __tablename__ = "sol003_instantiation"
    __table_args__ = (Index("ix_sol003_instantiation_instance", "vnf_instance_id"), _INNODB)

    deployment_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    vnf_instance_id: Mapped[UUID] = mapped_column(BinaryUuid)
    vdu_id: Mapped[str | None] = mapped_column(VduName)
    """Of a member: which part of the VNF it is; none of a deployment that is the whole."""
    number: Mapped[int | None]
    """Which of the instances of its VDU in its data centre."""


class OccurrenceRow(Base):
    """An LCM operation occurrence that stands over the operations of several members."""

    __tablename__ = "sol003_occurrence"
    __table_args__ = (
        UniqueConstraint("occurrence_id", name="uq_sol003_occurrence_id"),
        Index("ix_sol003_occurrence_instance", "vnf_instance_id"),
        Index("ix_sol003_occurrence_state", "state"),
        _INNODB,
    )

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    occurrence_id: Mapped[UUID] = mapped_column(BinaryUuid)
    vnf_instance_id: Mapped[UUID] = mapped_column(BinaryUuid)
    kind: Mapped[str] = mapped_column(String(16))
    adds: Mapped[bool]
    """It makes members, all or none of them; others change or remove those that there are."""
    then_removes: Mapped[bool] = mapped_column(default=False)
    """Once all that it makes are there it removes others: from then on neither `adds` nor this."""
    state: Mapped[str] = mapped_column(String(24))
    """Follows from its members' operations, in the transaction that changes those."""
    course: Mapped[str] = mapped_column(String(16))
    """What was decided of it: `aggregate.Course`."""
    tries: Mapped[int]
    cancel_requested: Mapped[bool]
    on_failure: Mapped[str] = mapped_column(String(16))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    """SOL003's `operationParams`."""
    target: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """What the VNF is once it is COMPLETED: `members.Shape`; none where it stays the same."""
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    entered_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    """When it came into its state."""
    ended_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)


class OccurrenceOperationRow(Base):
    """Ties the operation of a member to the occurrence over it."""

    __tablename__ = "sol003_occurrence_operation"
    __table_args__ = (Index("ix_sol003_occurrence_operation_occurrence", "occurrence_id"), _INNODB)

    operation_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    occurrence_id: Mapped[UUID] = mapped_column(BinaryUuid)
    deployment_id: Mapped[UUID] = mapped_column(BinaryUuid)
    is_undoing: Mapped[bool]
    """A removal of what came up, because another member did not."""


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
