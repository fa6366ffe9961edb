"""Parts in routes, and routes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0001"
down_revision = None

NAME = sa.String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")


def upgrade() -> None:
    op.create_table(
        "relay_hop",
        sa.Column("route_id", BinaryUuid, primary_key=True),
        sa.Column("relayed_link", NAME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("incoming_link", NAME),
        sa.Column("outgoing_link", NAME),
        sa.Column("key_count", sa.Integer, nullable=False),
        sa.Column("received_digest", sa.LargeBinary(32)),
        sa.Column("answer", sa.LargeBinary(131072).with_variant(mysql.MEDIUMBLOB(), "mysql")),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Column("ended_at", MicrosecondTime),
        sa.Column("reason", sa.String(255)),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "relay_route",
        sa.Column("route_id", BinaryUuid, primary_key=True),
        sa.Column("relayed_link", NAME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("epoch", BinaryUuid, nullable=False),
        sa.Column("nodes", sa.JSON, nullable=False),
        sa.Column("links", sa.JSON, nullable=False),
        sa.Column("key_count", sa.Integer, nullable=False),
        sa.Column("delivered_keys", sa.Integer, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.Column("started_at", MicrosecondTime, nullable=False),
        sa.Column("ended_at", MicrosecondTime),
        sa.Column("detail", sa.String(255)),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_relay_route_link", "relay_route", ["relayed_link", "state"])
