"""The latest command to each instance is known, so that one that comes late is refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from database import BinaryUuid

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "slave_command_order",
        sa.Column("instance_id", BinaryUuid, primary_key=True),
        sa.Column("operation", sa.BigInteger, nullable=False),
        sa.Column("claim", sa.Integer, nullable=False),
        mysql_engine="InnoDB",
    )
