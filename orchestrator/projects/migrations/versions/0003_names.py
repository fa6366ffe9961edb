"""How each project calls an image that several own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

NAME = sa.String(128).with_variant(mysql.VARCHAR(128, collation="utf8mb4_bin"), "mysql")


def upgrade() -> None:
    with op.batch_alter_table("project_owned") as table:
        table.add_column(sa.Column("name", NAME))
