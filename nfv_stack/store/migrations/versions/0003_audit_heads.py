"""Heads of orchestrators' audit chains that were left here."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import MicrosecondTime

revision = "0003"
down_revision = "0002"

NAME = sa.String(128).with_variant(mysql.VARCHAR(128, collation="utf8mb4_bin"), "mysql")
HASH = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def upgrade() -> None:
    op.create_table(
        "slave_audit_head",
        sa.Column("orchestrator", NAME, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", HASH, nullable=False),
        sa.Column("at", MicrosecondTime, nullable=False),
        sa.Column("signature", sa.String(256), nullable=False),
        sa.Column("certificate", sa.Text, nullable=False),
        mysql_engine="InnoDB",
    )
