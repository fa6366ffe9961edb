"""Whose the image of an upload will be."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

NAME = sa.String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")


def upgrade() -> None:
    with op.batch_alter_table("upload") as table:
        table.add_column(sa.Column("project", NAME))
