"""The orchestrator's tables on SQLite and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from database import open_engine
from orchestrator.store.tables import migrate_orchestrator


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    migrate_orchestrator(engine)
    migrate_orchestrator(engine)  # a second start changes nothing
    yield engine
    engine.dispose()
