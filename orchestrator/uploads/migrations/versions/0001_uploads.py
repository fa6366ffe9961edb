"""Uploads that may break off and go on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0001"
down_revision = None

NAME = sa.String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")
DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def upgrade() -> None:
    op.create_table(
        "upload",
        sa.Column("upload_id", BinaryUuid, primary_key=True),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", DIGEST),
        sa.Column("blake3", DIGEST),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Column("touched_at", MicrosecondTime, nullable=False),
        sa.Column("image_digest", DIGEST),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_upload_owner", "upload", ["owner"])
