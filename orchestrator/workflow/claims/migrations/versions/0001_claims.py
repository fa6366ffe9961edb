"""The number of an operation's newest claim."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from database import BinaryUuid

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "operation_claim",
        sa.Column("operation_id", BinaryUuid, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        mysql_engine="InnoDB",
    )
