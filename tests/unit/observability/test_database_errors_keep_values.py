"""What a database error tells: the statement, never the values (a wrapped key may be one)."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from database import open_engine


def test_a_database_error_shows_no_value(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'test.sqlite'}")
    with pytest.raises(SQLAlchemyError) as caught, engine.begin() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:wrapped)"), {"wrapped": b"secret"})
    engine.dispose()
    assert "INSERT INTO nowhere" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value)
