"""VNF instances, their deployments, and changes of their information."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0001"
down_revision = None

DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def upgrade() -> None:
    op.create_table(
        "sol003_vnf_instance",
        sa.Column("vnf_instance_id", BinaryUuid, primary_key=True),
        sa.Column("image_digest", DIGEST, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.String(1024), nullable=False),
        sa.Column("key_values", sa.JSON, nullable=False),
        sa.Column("deployment_id", BinaryUuid, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "sol003_instantiation",
        sa.Column("deployment_id", BinaryUuid, primary_key=True),
        sa.Column("vnf_instance_id", BinaryUuid, nullable=False),
        sa.Index("ix_sol003_instantiation_instance", "vnf_instance_id"),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "sol003_info_change",
        sa.Column("occurrence_id", BinaryUuid, primary_key=True),
        sa.Column("vnf_instance_id", BinaryUuid, nullable=False),
        sa.Column("changes", sa.JSON, nullable=False),
        sa.Column("at", MicrosecondTime, nullable=False),
        sa.Index("ix_sol003_info_change_instance", "vnf_instance_id"),
        mysql_engine="InnoDB",
    )
