"""One at a time, among all processes that share a database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

log = structlog.get_logger(__name__)

_TRY_S = 10


class Exclusive:
    """A lock by name on MySQL or MariaDB (`GET_LOCK`), for threads of all processes.

    The server holds it for a connection, so it ends with a process that dies. It keeps no promise
    beyond that: a process that was stopped for long while inside may have lost its connection, and
    others been inside meanwhile. So what is done inside must bear that too.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        """`name` is one within the database."""
        self._engine = engine
        self._name = name
        self._threads = threading.Lock()  # so that waiting threads take no connections

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, nobody else is."""
        with self._threads, self._engine.connect() as plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            # Names of locks are the server's, not the database's.
            of_this_database = text("SELECT LEFT(SHA2(CONCAT(DATABASE(), '.', :name), 256), 60)")
            name = {"name": connection.scalar(of_this_database, {"name": self._name})}
            while connection.scalar(text(f"SELECT GET_LOCK(:name, {_TRY_S})"), name) != 1:
                pass
            try:
                yield
            finally:
                try:
                    connection.execute(text("SELECT RELEASE_LOCK(:name)"), name)
                except DBAPIError as error:
                    # What was done inside has its own result, which must not be lost.
                    log.warning(
                        "a lock had ended before it was left", lock=self._name, why=str(error)
                    )
                    connection.invalidate()
