"""What was there before there were projects becomes the default project's, by name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_THINGS = (
    ("image", "image", "digest"),
    ("deployment", "deployment", "deployment_id"),
    ("deployment", "sol003_vnf_instance", "vnf_instance_id"),
)
"""Kind, table and column. A room whose tables come later has nothing yet."""


def upgrade() -> None:
    there = set(sa.inspect(op.get_bind()).get_table_names())
    for kind, table, column in _THINGS:
        if table in there:
            _give_to_default(kind, table, column)


def _give_to_default(kind: str, table: str, column: str) -> None:
    owned = sa.table("project_owned", sa.column("kind"), sa.column("thing"), sa.column("project"))
    thing = sa.table(table, sa.column(column)).c[column]
    has_owner = sa.select(owned.c.project).where(owned.c.kind == kind, owned.c.thing == thing)
    ownerless = sa.select(sa.literal(kind), thing, sa.literal("default")).where(~has_owner.exists())
    op.execute(owned.insert().from_select(["kind", "thing", "project"], ownerless))
