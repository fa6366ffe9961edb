"""Brings a room's tables to their newest form with Alembic.

A room that keeps tables has a folder `migrations/` with `env.py`, which is one line long, and
`versions/`. Each room has a version table of its own, so that rooms can share a database.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command, context
from alembic.config import Config
from sqlalchemy import Engine, MetaData


def migrate(engine: Engine, migrations: Path, *, room: str, revision: str = "head") -> None:
    """Upgrade the tables of `room` on `engine` to `revision`; safe to call at every start."""
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("path_separator", "os")
    config.attributes["engine"] = engine
    config.attributes["version_table"] = f"alembic_version_{room}"
    command.upgrade(config, revision)


def run_environment(metadata: MetaData) -> None:
    """What a room's `migrations/env.py` calls, with the room's tables."""
    engine: Engine = context.config.attributes["engine"]
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            version_table=context.config.attributes["version_table"],
            render_as_batch=connection.dialect.name == "sqlite",
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
