"""The orchestrator's tables on SQLite and MariaDB; its whole REST on SQLite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from account_room import AccountRoom
from sqlalchemy import Engine

from database import open_engine
from orchestrator.store.tables import migrate_orchestrator
from orchestrator.workflow.claims.fences import migrate_claims


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    migrate_orchestrator(engine)
    migrate_orchestrator(engine)  # a second start changes nothing
    migrate_claims(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccountRoom]:
    """One for all the tests of a file, which so see what those before them left."""
    folder = tmp_path_factory.mktemp("room")
    made = AccountRoom(folder, f"sqlite:///{folder / 'orchestrator.sqlite'}")
    yield made
    made.close()
