"""A number that grows with every delivery."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    table = op.create_table(
        "kme_sequence",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("deliveries", sa.BigInteger, nullable=False),
        mysql_engine="InnoDB",
    )
    op.bulk_insert(table, [{"id": 1, "deliveries": 0}])
