"""An upload may be of a VNF package's content; what has arrived is marked as such."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from database import BinaryUuid, MicrosecondTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("upload") as table:
        table.add_column(sa.Column("vnf_package_id", BinaryUuid))
        table.add_column(sa.Column("finished_at", MicrosecondTime))
    upload = sa.table(
        "upload", sa.column("image_digest"), sa.column("touched_at"), sa.column("finished_at")
    )
    op.execute(
        upload.update()
        .where(upload.c.image_digest.is_not(None))
        .values(finished_at=upload.c.touched_at)
    )
