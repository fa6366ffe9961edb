"""Projects, their members, what they own; the project that was there before there were any."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0001"
down_revision = None

NAME = sa.String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")
THING = sa.LargeBinary(32).with_variant(mysql.VARBINARY(32), "mysql")


def upgrade() -> None:
    project = op.create_table(
        "project",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("purpose", sa.String(255), nullable=False),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
    op.bulk_insert(
        project,
        [{"name": "default", "purpose": "whatever no other owns", "created_at": datetime.now(UTC)}],
    )
    op.create_table(
        "project_member",
        sa.Column(
            "project", NAME, sa.ForeignKey("project.name", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("user_id", BinaryUuid, primary_key=True),
        sa.Index("ix_project_member_user", "user_id"),
        mysql_engine="InnoDB",
    )
    # Whoever has an account already saw everything, and goes on to see what there is.
    users = sa.table("account_user", sa.column("user_id"))
    members = sa.table("project_member", sa.column("project"), sa.column("user_id"))
    op.execute(
        members.insert().from_select(
            ["project", "user_id"], sa.select(sa.literal("default"), users.c.user_id)
        )
    )
    op.create_table(
        "project_owned",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("thing", THING, primary_key=True),
        sa.Column("project", NAME, sa.ForeignKey("project.name"), primary_key=True),
        sa.Index("ix_project_owned_project", "project"),
        mysql_engine="InnoDB",
    )
