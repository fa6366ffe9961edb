"""Occurrences that add members first and remove others once those are there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("sol003_occurrence") as table:
        table.add_column(
            sa.Column("then_removes", sa.Boolean, nullable=False, server_default=sa.false())
        )
