"""Batches, delivered keys, their blocks and their receivers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0001"
down_revision = None

NAME = sa.String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")
DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def upgrade() -> None:
    op.create_table(
        "kme_batch",
        sa.Column("batch_id", BinaryUuid, primary_key=True),
        sa.Column("link", NAME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("master_sae", NAME, nullable=False),
        sa.Column("slave_sae", NAME, nullable=False),
        sa.Column("size_bit", sa.Integer, nullable=False),
        sa.Column("key_count", sa.Integer, nullable=False),
        sa.Column("emulated", sa.Boolean, nullable=False),
        sa.Column("digest", DIGEST),
        sa.Column("peer_told", sa.Boolean, nullable=False),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Column("changed_at", MicrosecondTime, nullable=False),
        sa.Column("reason", sa.String(255)),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_kme_batch_state", "kme_batch", ["state", "created_at"])
    op.create_index("ix_kme_batch_pair", "kme_batch", ["master_sae", "slave_sae", "created_at"])
    op.create_table(
        "kme_delivery",
        sa.Column("key_id", BinaryUuid, primary_key=True),
        sa.Column("batch_id", BinaryUuid, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("erased", sa.Boolean, nullable=False),
        sa.Column("changed_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_kme_delivery_batch", "kme_delivery", ["batch_id"])
    op.create_index("ix_kme_delivery_erased", "kme_delivery", ["erased", "state"])
    op.create_table(
        "kme_block",
        sa.Column("link", NAME, primary_key=True),
        sa.Column("block_id", BinaryUuid, primary_key=True),
        sa.Column("key_id", BinaryUuid, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_kme_block_key", "kme_block", ["key_id"])
    op.create_table(
        "kme_receiver",
        sa.Column("key_id", BinaryUuid, primary_key=True),
        sa.Column("role", sa.String(8), primary_key=True),
        sa.Column("sae", NAME, primary_key=True),
        sa.Column("delivered_at", MicrosecondTime),
        mysql_engine="InnoDB",
    )
