"""Users, their tokens and their sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0001"
down_revision = None

NAME = sa.String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")
DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def _user_id() -> sa.Column[object]:
    return sa.Column(
        "user_id",
        BinaryUuid,
        sa.ForeignKey("account_user.user_id", ondelete="CASCADE"),
        nullable=False,
    )


def upgrade() -> None:
    op.create_table(
        "account_user",
        sa.Column("user_id", BinaryUuid, primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("must_change_password", sa.Boolean, nullable=False),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Column("password_at", MicrosecondTime, nullable=False),
        sa.Column("signed_in_at", MicrosecondTime),
        sa.UniqueConstraint("name", name="uq_account_user_name"),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "account_token",
        sa.Column("token_id", BinaryUuid, primary_key=True),
        _user_id(),
        sa.Column("name", NAME, nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Column("expires_at", MicrosecondTime),
        sa.Column("used_at", MicrosecondTime),
        sa.UniqueConstraint("digest", name="uq_account_token_digest"),
        sa.UniqueConstraint("user_id", "name", name="uq_account_token_name"),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "account_session",
        sa.Column("digest", DIGEST, primary_key=True),
        _user_id(),
        sa.Column("began_at", MicrosecondTime, nullable=False),
        sa.Column("seen_at", MicrosecondTime, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_account_session_user", "account_session", ["user_id"])


def downgrade() -> None:
    for table in ("account_session", "account_token", "account_user"):
        op.drop_table(table)
