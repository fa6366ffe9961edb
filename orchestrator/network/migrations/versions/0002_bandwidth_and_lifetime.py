"""What a circuit carries, and until when somebody owns it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from database import MicrosecondTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("network_circuit", sa.Column("bandwidth_class", sa.String(8)))
    op.add_column("network_circuit_owner", sa.Column("until", MicrosecondTime))
    op.add_column("network_waiting", sa.Column("bandwidth_class", sa.String(8)))


def downgrade() -> None:
    op.drop_column("network_waiting", "bandwidth_class")
    op.drop_column("network_circuit_owner", "until")
    op.drop_column("network_circuit", "bandwidth_class")
