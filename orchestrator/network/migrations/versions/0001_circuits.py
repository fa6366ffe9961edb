"""Circuits, their cross-connects, ports and owners, and the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0001"
down_revision = None

NAME = sa.String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")
OWNER = sa.String(191).with_variant(mysql.VARCHAR(191, collation="utf8mb4_bin"), "mysql")


def upgrade() -> None:
    op.create_table(
        "network_circuit",
        sa.Column("id", BinaryUuid, primary_key=True),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("from_end_point", NAME, nullable=False),
        sa.Column("to_end_point", NAME, nullable=False),
        sa.Column("km", sa.Double, nullable=False),
        sa.Column("loss_db", sa.Double, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Column("established_at", MicrosecondTime),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "network_cross_connect",
        sa.Column("circuit_id", BinaryUuid, sa.ForeignKey("network_circuit.id"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("chassis", NAME, nullable=False),
        sa.Column("in_port", sa.Integer, nullable=False),
        sa.Column("out_port", sa.Integer, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "network_port_use",
        sa.Column("chassis", NAME, primary_key=True),
        sa.Column("port", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("circuit_id", BinaryUuid, sa.ForeignKey("network_circuit.id"), nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_network_port_use_circuit", "network_port_use", ["circuit_id"])
    op.create_table(
        "network_circuit_owner",
        sa.Column("owner", OWNER, primary_key=True),
        sa.Column("circuit_id", BinaryUuid, sa.ForeignKey("network_circuit.id"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_network_circuit_owner_circuit", "network_circuit_owner", ["circuit_id"])
    op.create_table(
        "network_waiting",
        sa.Column("owner", OWNER, primary_key=True),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("from_end_point", NAME, nullable=False),
        sa.Column("to_end_point", NAME, nullable=False),
        sa.Column("requested_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )


def downgrade() -> None:
    for table in (
        "network_waiting",
        "network_circuit_owner",
        "network_port_use",
        "network_cross_connect",
        "network_circuit",
    ):
        op.drop_table(table)
