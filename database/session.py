"""Sessions that say what they are for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import CursorResult, Engine, Executable
from sqlalchemy.orm import Session

READ_ONLY = "qnfv_read_only"


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that only reads: on SQLite it takes no write lock and sees one snapshot."""
    connection = engine.connect().execution_options(**{READ_ONLY: True})
    with connection, Session(connection) as session:
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """One transaction: committed at the end of the block, rolled back if it raises.

    What was loaded or added keeps its values afterwards.
    """
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


def changed(session: Session, statement: Executable) -> int:
    """How many rows an UPDATE or DELETE changed: what compare-and-set asks."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount
