"""Transfers and instances of a slave stack."""

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
        "slave_transfer",
        sa.Column("transfer_id", BinaryUuid, primary_key=True),
        sa.Column("link", NAME, nullable=False),
        sa.Column("key_id", BinaryUuid, nullable=False),
        sa.Column("key_source", sa.String(16), nullable=False),
        sa.Column("sender", NAME, nullable=False),
        sa.Column("suite", sa.String(32), nullable=False),
        sa.Column("chunk_log2", sa.Integer, nullable=False),
        sa.Column("image_digest", DIGEST, nullable=False),
        sa.Column("image_size", sa.BigInteger, nullable=False),
        sa.Column("image_format", sa.String(32), nullable=False),
        sa.Column("vim_image_id", NAME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("image_was_present", sa.Boolean, nullable=False),
        sa.Column("placed_image_id", NAME),
        sa.Column("receipt", sa.LargeBinary(1024)),
        sa.Column("error", sa.Text),
        sa.Column("changed_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_slave_transfer_image", "slave_transfer", ["vim_image_id"])
    op.create_table(
        "slave_instance",
        sa.Column("instance_id", BinaryUuid, primary_key=True),
        sa.Column("transfer_id", BinaryUuid, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("image_digest", DIGEST, nullable=False),
        sa.Column("placed_image_id", NAME, nullable=False),
        sa.Column("memory_mib", sa.Integer, nullable=False),
        sa.Column("cpus", sa.Float, nullable=False),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
