"""Transfers under a one-time pad: its blocks, and what came under it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

NAME = sa.String(128).with_variant(mysql.VARCHAR(128, collation="utf8mb4_bin"), "mysql")
DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def upgrade() -> None:
    with op.batch_alter_table("slave_transfer") as table:
        table.add_column(sa.Column("pad_blocks", sa.JSON))
        table.add_column(sa.Column("opened_digest", DIGEST))
        table.add_column(sa.Column("opened_image_id", NAME))
