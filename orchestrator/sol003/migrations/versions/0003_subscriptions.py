"""Subscriptions, and notifications that were not delivered yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0003"
down_revision = "0002"

DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def upgrade() -> None:
    op.create_table(
        "sol003_subscription",
        sa.Column("subscription_id", BinaryUuid, primary_key=True),
        sa.Column("user_id", BinaryUuid),
        sa.Column("sees_all", sa.Boolean, nullable=False),
        sa.Column("callback_uri", sa.String(1024), nullable=False),
        sa.Column("filter", sa.JSON, nullable=False),
        sa.Column("likeness", DIGEST, nullable=False),
        sa.Column("authentication", sa.LargeBinary(8192)),
        sa.Column("root", sa.String(255), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_try_at", MicrosecondTime, nullable=False),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.UniqueConstraint("likeness", name="uq_sol003_subscription_like"),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "sol003_notification",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("subscription_id", BinaryUuid, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Index("ix_sol003_notification_subscription", "subscription_id", "sequence"),
        mysql_engine="InnoDB",
    )
