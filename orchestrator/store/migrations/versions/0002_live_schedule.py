"""Turns tell what they measured and why they failed; promises, orders, assignment, alarms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0002"
down_revision = "0001"

NAME = sa.String(128).with_variant(mysql.VARCHAR(128, collation="utf8mb4_bin"), "mysql")


def upgrade() -> None:
    with op.batch_alter_table("turn") as turn:
        turn.add_column(sa.Column("draining_at", MicrosecondTime))
        turn.add_column(sa.Column("blocks", sa.Integer, nullable=False, server_default="0"))
        turn.add_column(sa.Column("mean_rate_bps", sa.Float))
        turn.add_column(sa.Column("qber_min", sa.Float))
        turn.add_column(sa.Column("qber_mean", sa.Float))
        turn.add_column(sa.Column("qber_max", sa.Float))
        turn.add_column(sa.Column("gained_keys", sa.Integer, nullable=False, server_default="0"))
        turn.add_column(sa.Column("fault", sa.String(24)))
    op.create_index("ix_turn_link", "turn", ["link", "number"])
    op.create_table(
        "promise",
        sa.Column("operation_id", BinaryUuid, primary_key=True),
        sa.Column("link", NAME, nullable=False),
        sa.Column("bits", sa.BigInteger, nullable=False),
        sa.Column("asked_at", MicrosecondTime, nullable=False),
        sa.Column("due_at", MicrosecondTime, nullable=False),
        sa.Column("promised_at", MicrosecondTime, nullable=False),
        sa.Column("ended_at", MicrosecondTime),
        sa.Column("outcome", sa.String(16)),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_promise_link", "promise", ["link", "ended_at"])
    op.create_table(
        "bob_order",
        sa.Column("link", NAME, primary_key=True),
        sa.Column("pin", sa.String(8)),
        sa.Column("pinned_at", MicrosecondTime),
        sa.Column("pinned_until", MicrosecondTime),
        sa.Column("excluded_at", MicrosecondTime),
        sa.Column("excluded_until", MicrosecondTime),
        sa.Column("excluded_why", sa.String(255), nullable=False),
        sa.Column("keys_asked_at", MicrosecondTime),
        sa.Column("forgiven_at", MicrosecondTime),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "bob_assignment",
        sa.Column("link", NAME, primary_key=True),
        sa.Column("alice", NAME, nullable=False),
        sa.Column("since", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "alarm",
        sa.Column("alarm_id", BinaryUuid, primary_key=True),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("subject", NAME, nullable=False),
        sa.Column("turn_id", BinaryUuid),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("since", MicrosecondTime, nullable=False),
        sa.Column("last_at", MicrosecondTime, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("over_at", MicrosecondTime),
        sa.Column("acknowledged_at", MicrosecondTime),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_alarm_open", "alarm", ["acknowledged_at", "subject"])
