"""The key ledger and the insert-only record of use."""

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
        "key_ledger",
        sa.Column("key_id", BinaryUuid, primary_key=True),
        sa.Column("link", NAME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("epoch", BinaryUuid, nullable=False),
        sa.Column("vendor_key_id", sa.LargeBinary(8)),
        sa.Column("wrapped", sa.LargeBinary(64)),
        sa.Column("fingerprint", DIGEST, nullable=False),
        sa.Column("emulated", sa.Boolean, nullable=False),
        sa.Column("owner", BinaryUuid),
        sa.Column("made_at", MicrosecondTime, nullable=False),
        sa.Column("changed_at", MicrosecondTime, nullable=False),
        sa.Column("reason", sa.String(255)),
        sa.UniqueConstraint("fingerprint", name="uq_key_ledger_fingerprint"),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_key_ledger_pool", "key_ledger", ["link", "state", "made_at"])
    op.create_index("ix_key_ledger_owner", "key_ledger", ["owner"])
    op.create_index("ix_key_ledger_epoch", "key_ledger", ["epoch"])
    op.create_table(
        "key_use",
        sa.Column("link", NAME, primary_key=True),
        sa.Column("key_id", BinaryUuid, primary_key=True),
        sa.Column("transfer_id", BinaryUuid, nullable=False),
        sa.Column("image_digest", DIGEST, nullable=False),
        sa.Column("destination", NAME, nullable=False),
        sa.Column("armed_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
