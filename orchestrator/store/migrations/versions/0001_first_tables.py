"""Images, deployments, operations with their steps, transfers, turns of Alice, leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0001"
down_revision = None

NAME = sa.String(128).with_variant(mysql.VARCHAR(128, collation="utf8mb4_bin"), "mysql")
DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def upgrade() -> None:
    op.create_table(
        "image",
        sa.Column("digest", DIGEST, primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("vim_image_id", NAME, nullable=False),
        sa.Column("added_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_image_name", "image", ["name"])
    op.create_table(
        "deployment",
        sa.Column("deployment_id", BinaryUuid, primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("data_centre", NAME, nullable=False),
        sa.Column("image_digest", DIGEST, nullable=False),
        sa.Column("cipher", sa.String(32), nullable=False),
        sa.Column("key_mode", sa.String(16), nullable=False),
        sa.Column("memory_mib", sa.Integer, nullable=False),
        sa.Column("cpus", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("instance", sa.JSON),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Column("changed_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_deployment_image", "deployment", ["image_digest"])
    op.create_table(
        "operation",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("operation_id", BinaryUuid, nullable=False),
        sa.Column("deployment_id", BinaryUuid, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("wait_until", MicrosecondTime),
        sa.Column("error", sa.JSON),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Column("started_at", MicrosecondTime),
        sa.Column("ended_at", MicrosecondTime),
        sa.UniqueConstraint("operation_id", name="uq_operation_id"),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_operation_deployment", "operation", ["deployment_id"])
    op.create_index("ix_operation_state", "operation", ["state"])
    op.create_table(
        "operation_step",
        sa.Column("operation_id", BinaryUuid, primary_key=True),
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("runs", sa.Integer, nullable=False),
        sa.Column("started_at", MicrosecondTime),
        sa.Column("ended_at", MicrosecondTime),
        sa.Column("detail", sa.JSON),
        sa.Column("error", sa.Text),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "transfer",
        sa.Column("transfer_id", BinaryUuid, primary_key=True),
        sa.Column("data_centre", NAME, nullable=False),
        sa.Column("link", NAME, nullable=False),
        sa.Column("key_id", BinaryUuid, nullable=False),
        sa.Column("emulated_key", sa.Boolean, nullable=False),
        sa.Column("cipher", sa.String(32), nullable=False),
        sa.Column("image_digest", DIGEST, nullable=False),
        sa.Column("image_size", sa.BigInteger, nullable=False),
        sa.Column("vim_image_id", NAME, nullable=False),
        sa.Column("bytes_sent", sa.BigInteger, nullable=False),
        sa.Column("rate_bytes_per_s", sa.Float),
        sa.Column("receipt", sa.LargeBinary(1024)),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_transfer_data_centre", "transfer", ["data_centre"])
    op.create_table(
        "transfer_attempt",
        sa.Column("transfer_id", BinaryUuid, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("header", sa.LargeBinary(512), nullable=False),
        sa.Column("started_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "turn",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("turn_id", BinaryUuid, nullable=False),
        sa.Column("alice", NAME, nullable=False),
        sa.Column("link", NAME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("fencing", sa.Integer, nullable=False),
        sa.Column("dwell_s", sa.Float, nullable=False),
        sa.Column("secret_key_rate_bps", sa.Float),
        sa.Column("qber", sa.Float),
        sa.Column("started_at", MicrosecondTime, nullable=False),
        sa.Column("generating_at", MicrosecondTime),
        sa.Column("ended_at", MicrosecondTime),
        sa.UniqueConstraint("turn_id", name="uq_turn_id"),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "lease",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("owner", BinaryUuid, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger, nullable=False),
        sa.Column("fencing", sa.Integer, nullable=False),
        mysql_engine="InnoDB",
    )
