"""An upload belongs to an account, no more to whoever has its name."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    connection = op.get_bind()
    if "account_user" not in sa.inspect(connection).get_table_names():
        return
    upload = sa.table("upload", sa.column("owner", sa.String))
    user = sa.table("account_user", sa.column("user_id"), sa.column("name", sa.String))
    owners = set(connection.scalars(sa.select(upload.c.owner)))
    for user_id, name in connection.execute(sa.select(user.c.user_id, user.c.name)).all():
        if name in owners:
            account = str(UUID(bytes=bytes(user_id)))
            op.execute(upload.update().where(upload.c.owner == name).values(owner=account))
