"""Turns remember when each of their phases began."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from database import MicrosecondTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("turn") as turn:
        turn.add_column(sa.Column("standby_at", MicrosecondTime))
        turn.add_column(sa.Column("initialising_at", MicrosecondTime))
