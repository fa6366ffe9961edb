"""The turn of a key, room for longer ids of other vendors, and an account per link."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid

revision = "0002"
down_revision = "0001"

NAME = sa.String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")


def upgrade() -> None:
    with op.batch_alter_table("key_ledger") as table:
        table.add_column(sa.Column("turn", BinaryUuid))
        table.alter_column(
            "vendor_key_id", existing_type=sa.LargeBinary(8), type_=sa.LargeBinary(16)
        )
    op.create_index("ix_key_ledger_turn", "key_ledger", ["turn"])
    op.create_table(
        "key_account",
        sa.Column("link", NAME, primary_key=True),
        sa.Column("made", sa.Integer, nullable=False),
        mysql_engine="InnoDB",
    )
    op.execute(
        "INSERT INTO key_account (link, made) SELECT link, COUNT(*) FROM key_ledger GROUP BY link"
    )
