"""Operations can be held, tried again and cancelled; a try has a transfer of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from database import BinaryUuid, MicrosecondTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("operation") as operation:
        operation.add_column(
            sa.Column("on_failure", sa.String(16), nullable=False, server_default="rollback")
        )
        operation.add_column(sa.Column("tries", sa.Integer, nullable=False, server_default="1"))
        operation.add_column(
            sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false())
        )
        operation.add_column(sa.Column("transfer_id", BinaryUuid))
        operation.add_column(sa.Column("parameters", sa.JSON))
        operation.add_column(sa.Column("state_before", sa.String(16)))
    with op.batch_alter_table("transfer") as transfer:
        transfer.add_column(sa.Column("operation_id", BinaryUuid))
        transfer.add_column(sa.Column("cancelled_at", MicrosecondTime))
    # Until now a transfer had the id of its operation.
    op.execute("UPDATE operation SET transfer_id = operation_id")
    op.execute("UPDATE transfer SET operation_id = transfer_id")
    with op.batch_alter_table("operation") as operation:
        operation.alter_column("transfer_id", existing_type=BinaryUuid, nullable=False)
    with op.batch_alter_table("transfer") as transfer:
        transfer.alter_column("operation_id", existing_type=BinaryUuid, nullable=False)
    op.create_index("ix_transfer_operation", "transfer", ["operation_id"])
