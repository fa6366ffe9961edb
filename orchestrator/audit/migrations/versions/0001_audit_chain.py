"""The audit chain, its head, and what is told once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import MicrosecondTime

revision = "0001"
down_revision = None

WORD = sa.String(191).with_variant(mysql.VARCHAR(191, collation="utf8mb4_bin"), "mysql")
WORDS = sa.Text().with_variant(mysql.TEXT(collation="utf8mb4_bin"), "mysql")
HASH = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def upgrade() -> None:
    op.create_table(
        "audit_record",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", MicrosecondTime, nullable=False),
        *(
            sa.Column(name, WORD, nullable=False)
            for name in ("who", "role", "via", "source", "action", "outcome")
        ),
        sa.Column("subjects", WORDS, nullable=False),
        sa.Column("previous_hash", HASH, nullable=False),
        sa.Column("own_hash", HASH, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_audit_record_at", "audit_record", ["at"])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", HASH, nullable=False),
        mysql_engine="InnoDB",
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "hash": bytes(32)}])
    op.create_table(
        "audit_once",
        sa.Column("event", WORD, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        mysql_engine="InnoDB",
    )


def downgrade() -> None:
    for table in ("audit_once", "audit_head", "audit_record"):
        op.drop_table(table)
