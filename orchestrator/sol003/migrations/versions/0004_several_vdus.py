"""Packages of several images; VNF instances of several deployments under one occurrence."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from database import BinaryUuid, MicrosecondTime

revision = "0004"
down_revision = "0003"

DIGEST = sa.LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")
NAME = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql")


def upgrade() -> None:
    images = op.create_table(
        "sol003_package_image",
        sa.Column("package_id", BinaryUuid, primary_key=True),
        sa.Column("vdu_id", NAME, primary_key=True),
        sa.Column("image_digest", DIGEST, nullable=False),
        sa.Column("is_brought", sa.Boolean, nullable=False),
        sa.Index("ix_sol003_package_image_digest", "image_digest"),
        mysql_engine="InnoDB",
    )
    packages = sa.table(
        "sol003_vnf_package",
        sa.column("package_id", BinaryUuid),
        sa.column("vnfd", sa.JSON),
        sa.column("image_digest", DIGEST),
        sa.column("brought_image", sa.Boolean),
    )
    connection = op.get_bind()
    for row in connection.execute(
        sa.select(packages).where(packages.c.image_digest.is_not(None))
    ).all():
        connection.execute(
            images.insert().values(
                package_id=row.package_id,
                vdu_id=(row.vnfd or {}).get("vdu_id", "vdu-1"),
                image_digest=row.image_digest,
                is_brought=row.brought_image,
            )
        )
    with op.batch_alter_table("sol003_vnf_package") as table:
        table.drop_index("ix_sol003_vnf_package_image")
        table.drop_column("image_digest")
        table.drop_column("brought_image")
    with op.batch_alter_table("sol003_instantiation") as table:
        table.add_column(sa.Column("vdu_id", NAME))
        table.add_column(sa.Column("number", sa.Integer))
    op.create_table(
        "sol003_occurrence",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("occurrence_id", BinaryUuid, nullable=False),
        sa.Column("vnf_instance_id", BinaryUuid, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("adds", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("course", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("on_failure", sa.String(16), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("target", sa.JSON),
        sa.Column("created_at", MicrosecondTime, nullable=False),
        sa.Column("entered_at", MicrosecondTime, nullable=False),
        sa.Column("ended_at", MicrosecondTime),
        sa.UniqueConstraint("occurrence_id", name="uq_sol003_occurrence_id"),
        sa.Index("ix_sol003_occurrence_instance", "vnf_instance_id"),
        sa.Index("ix_sol003_occurrence_state", "state"),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "sol003_occurrence_operation",
        sa.Column("operation_id", BinaryUuid, primary_key=True),
        sa.Column("occurrence_id", BinaryUuid, nullable=False),
        sa.Column("deployment_id", BinaryUuid, nullable=False),
        sa.Column("is_undoing", sa.Boolean, nullable=False),
        sa.Index("ix_sol003_occurrence_operation_occurrence", "occurrence_id"),
        mysql_engine="InnoDB",
    )
