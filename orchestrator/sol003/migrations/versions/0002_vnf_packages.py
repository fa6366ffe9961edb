"""VNF packages that come by upload, and which of them an instance is of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0002"
down_revision = "0001"

DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")
NAME = sa.String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")


def upgrade() -> None:
    op.create_table(
        "sol003_vnf_package",
        sa.Column("package_id", BinaryUuid, primary_key=True),
        sa.Column("project", NAME, nullable=False),
        sa.Column("onboarding_state", sa.String(16), nullable=False),
        sa.Column("is_enabled", sa.Boolean, nullable=False),
        sa.Column("user_data", sa.JSON, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("failure", sa.JSON),
        sa.Column("content_bytes", sa.BigInteger),
        sa.Column("content_sha256", DIGEST),
        sa.Column("vnfd_id", BinaryUuid),
        sa.Column("vnfd", sa.JSON),
        sa.Column("vnfd_files", sa.JSON),
        sa.Column("artifacts", sa.JSON),
        sa.Column("image_digest", DIGEST),
        sa.Column("brought_image", sa.Boolean, nullable=False),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Column("arrived_at", MicrosecondTime),
        sa.UniqueConstraint("project", "vnfd_id", name="uq_sol003_vnf_package_vnfd"),
        sa.Index("ix_sol003_vnf_package_image", "image_digest"),
        mysql_engine="InnoDB",
    )
    with op.batch_alter_table("sol003_vnf_instance") as table:
        table.add_column(sa.Column("package_id", BinaryUuid))
        table.create_index("ix_sol003_vnf_instance_package", ["package_id"])
