"""The first head of each day is marked: it stays for ever."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from database import MicrosecondTime

revision = "0004"
down_revision = "0003"

_HEADS = sa.table(
    "slave_audit_head",
    sa.column("orchestrator", sa.String),
    sa.column("sequence", sa.BigInteger),
    sa.column("at", MicrosecondTime),
    sa.column("first_of_day", sa.Date),
)


def upgrade() -> None:
    with op.batch_alter_table("slave_audit_head") as table:
        table.add_column(sa.Column("first_of_day", sa.Date, nullable=True))
    _mark_those_that_are_here(op.get_bind())


def _mark_those_that_are_here(connection: sa.Connection) -> None:
    """By when they were signed; when they came is not known."""
    seen = set()
    rows = connection.execute(
        sa.select(_HEADS.c.orchestrator, _HEADS.c.sequence, _HEADS.c.at).order_by(_HEADS.c.sequence)
    ).all()
    for orchestrator, sequence, at in rows:
        assert isinstance(at, datetime)
        if (orchestrator, at.date()) not in seen:
            seen.add((orchestrator, at.date()))
            connection.execute(
                _HEADS.update()
                .where(_HEADS.c.orchestrator == orchestrator, _HEADS.c.sequence == sequence)
                .values(first_of_day=at.date())
            )
