"""What the orchestrator must know after a crash. TaskFlow's tables are its own, elsewhere."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Engine, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate

MIGRATIONS = Path(__file__).parent / "migrations"

Name = String(128).with_variant(mysql.VARCHAR(128, collation="utf8mb4_bin"), "mysql")
Digest = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")
_INNODB = {"mysql_engine": "InnoDB"}


class Base(DeclarativeBase):
    pass


class ImageRow(Base):
    """An image of the catalogue, named by the BLAKE3 digest of its content."""

    __tablename__ = "image"
    __table_args__ = (Index("ix_image_name", "name"), _INNODB)

    digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    name: Mapped[str] = mapped_column(Name)
    format: Mapped[str] = mapped_column(String(32))
    size: Mapped[int] = mapped_column(BigInteger)
    vim_image_id: Mapped[str] = mapped_column(Name)
    added_at: Mapped[datetime] = mapped_column(MicrosecondTime)


class DeploymentRow(Base):
    """A VNF instance that somebody asked for, and what became of it."""

    __tablename__ = "deployment"
    __table_args__ = (Index("ix_deployment_image", "image_digest"), _INNODB)

    deployment_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    name: Mapped[str] = mapped_column(Name)
    data_centre: Mapped[str] = mapped_column(Name)
    image_digest: Mapped[bytes] = mapped_column(Digest)
    cipher: Mapped[str] = mapped_column(String(32))
    key_mode: Mapped[str] = mapped_column(String(16))
    memory_mib: Mapped[int]
    cpus: Mapped[float]
    state: Mapped[str] = mapped_column(String(16))
    instance: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """The instance as the data centre answered at boot."""
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    changed_at: Mapped[datetime] = mapped_column(MicrosecondTime)


class OperationRow(Base):
    """An LCM operation occurrence: users' truth about what is going on."""

    __tablename__ = "operation"
    __table_args__ = (
        UniqueConstraint("operation_id", name="uq_operation_id"),
        Index("ix_operation_deployment", "deployment_id"),
        Index("ix_operation_state", "state"),
        _INNODB,
    )

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    """Waiting operations are served in this order."""
    operation_id: Mapped[UUID] = mapped_column(BinaryUuid)
    deployment_id: Mapped[UUID] = mapped_column(BinaryUuid)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(24))
    on_failure: Mapped[str] = mapped_column(String(16))
    tries: Mapped[int]
    """How often it was begun: once, and once more at each retry."""
    cancel_requested: Mapped[bool]
    transfer_id: Mapped[UUID] = mapped_column(BinaryUuid)
    """The transfer of its present try, and the owner of its keys. At first the operation's id."""
    parameters: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """What the request said beyond its kind."""
    state_before: Mapped[str | None] = mapped_column(String(16))
    """The deployment's state before the operation."""
    wait_until: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    started_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    ended_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)


class StepRow(Base):
    """One step of an operation, under the name that people see everywhere."""

    __tablename__ = "operation_step"
    __table_args__ = (_INNODB,)

    operation_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    position: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    runs: Mapped[int]
    started_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    ended_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(Text)


class TransferRow(Base):
    """An image on its way, as the sender sees it: one for each try of an operation."""

    __tablename__ = "transfer"
    __table_args__ = (
        Index("ix_transfer_data_centre", "data_centre"),
        Index("ix_transfer_operation", "operation_id"),
        _INNODB,
    )

    transfer_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    operation_id: Mapped[UUID] = mapped_column(BinaryUuid)
    data_centre: Mapped[str] = mapped_column(Name)
    link: Mapped[str] = mapped_column(Name)
    key_id: Mapped[UUID] = mapped_column(BinaryUuid)
    emulated_key: Mapped[bool]
    cipher: Mapped[str] = mapped_column(String(32))
    image_digest: Mapped[bytes] = mapped_column(Digest)
    image_size: Mapped[int] = mapped_column(BigInteger)
    vim_image_id: Mapped[str] = mapped_column(Name)
    bytes_sent: Mapped[int] = mapped_column(BigInteger)
    rate_bytes_per_s: Mapped[float | None]
    receipt: Mapped[bytes | None] = mapped_column(LargeBinary(1024))
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    cancelled_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    """When the data centre confirmed that it was given up and nothing of it is left there."""


class TransferAttemptRow(Base):
    """The header of each attempt, journaled before its first byte leaves."""

    __tablename__ = "transfer_attempt"
    __table_args__ = (_INNODB,)

    transfer_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    header: Mapped[bytes] = mapped_column(LargeBinary(512))
    started_at: Mapped[datetime] = mapped_column(MicrosecondTime)


class TurnRow(Base):
    """One turn of Alice."""

    __tablename__ = "turn"
    __table_args__ = (
        UniqueConstraint("turn_id", name="uq_turn_id"),
        Index("ix_turn_link", "link", "number"),
        _INNODB,
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    turn_id: Mapped[UUID] = mapped_column(BinaryUuid)
    alice: Mapped[str] = mapped_column(Name)
    link: Mapped[str] = mapped_column(Name)
    state: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str] = mapped_column(Text)
    fencing: Mapped[int]
    dwell_s: Mapped[float]
    secret_key_rate_bps: Mapped[float | None]
    """Of the last block, as `qber`."""
    qber: Mapped[float | None]
    started_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    standby_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    initialising_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    generating_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    draining_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    ended_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    blocks: Mapped[int] = mapped_column(default=0, server_default="0")
    mean_rate_bps: Mapped[float | None]
    qber_min: Mapped[float | None]
    qber_mean: Mapped[float | None]
    qber_max: Mapped[float | None]
    gained_keys: Mapped[int] = mapped_column(default=0, server_default="0")
    fault: Mapped[str | None] = mapped_column(String(24))
    """Of a turn that failed: `qkd_scheduler.faults`."""


class PromiseRow(Base):
    """Key bits that were promised to an operation, and whether the word was kept."""

    __tablename__ = "promise"
    __table_args__ = (Index("ix_promise_link", "link", "ended_at"), _INNODB)

    operation_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    link: Mapped[str] = mapped_column(Name)
    bits: Mapped[int] = mapped_column(BigInteger)
    asked_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    due_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    """When the operation wanted them at the latest."""
    promised_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    ended_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    """When the operation had its keys, or gave up."""
    outcome: Mapped[str | None] = mapped_column(String(16))


class BobOrderRow(Base):
    """What people ordered about one Bob: pin, exclusion, keys now."""

    __tablename__ = "bob_order"
    __table_args__ = (_INNODB,)

    link: Mapped[str] = mapped_column(Name, primary_key=True)
    pin: Mapped[str | None] = mapped_column(String(8))
    pinned_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    pinned_until: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    excluded_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    excluded_until: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    excluded_why: Mapped[str] = mapped_column(String(255), default="")
    keys_asked_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    forgiven_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    """Faults before this moment delay no turn any more: somebody asked for this Bob."""


class BobAssignmentRow(Base):
    """Which Alice serves a Bob."""

    __tablename__ = "bob_assignment"
    __table_args__ = (_INNODB,)

    link: Mapped[str] = mapped_column(Name, primary_key=True)
    alice: Mapped[str] = mapped_column(Name)
    since: Mapped[datetime] = mapped_column(MicrosecondTime)


class AlarmRow(Base):
    """Something about a link or an Alice that a person should look at."""

    __tablename__ = "alarm"
    __table_args__ = (Index("ix_alarm_open", "acknowledged_at", "subject"), _INNODB)

    alarm_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    kind: Mapped[str] = mapped_column(String(24))
    subject: Mapped[str] = mapped_column(Name)
    """The link, or the Alice."""
    turn_id: Mapped[UUID | None] = mapped_column(BinaryUuid)
    detail: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime] = mapped_column(MicrosecondTime)
    last_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    times: Mapped[int] = mapped_column(default=1)
    over_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    """When a good turn showed that the trouble is over."""
    acknowledged_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)


class LeaseRow(Base):
    """Who leads, until when by the database's clock, under which fencing number."""

    __tablename__ = "lease"
    __table_args__ = (_INNODB,)

    name: Mapped[str] = mapped_column(Name, primary_key=True)
    owner: Mapped[UUID] = mapped_column(BinaryUuid)
    expires_at_us: Mapped[int] = mapped_column(BigInteger)
    fencing: Mapped[int]


def migrate_orchestrator(engine: Engine) -> None:
    """Bring the orchestrator's tables on `engine` to their newest form."""
    migrate(engine, MIGRATIONS, room="orchestrator")
