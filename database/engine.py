"""Engines for `sqlite:///FILE` and `mysql+pymysql://...`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url

from database.session import READ_ONLY

BUSY_TIMEOUT_S = 30


def open_engine(url: str, *, pool_size: int = 20, idle_limit_s: int | None = None) -> Engine:
    """An engine for `url`. Nothing is connected before its first use.

    On MySQL, `idle_limit_s` has the server end connections that say nothing for so long, with
    their transactions and locks: so a process that was stopped holds nobody up for ever.

    SQLite transactions that write begin IMMEDIATE: the write lock is taken first, so that a
    transaction that read never fails later for a lock that it cannot upgrade. MySQL sessions run
    READ COMMITTED, so that a conditional update sees what others committed. Errors tell statements,
    never values: those may be wrapped keys.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=20,
            connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
            hide_parameters=True,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin)
        return engine
    limits = {}
    if idle_limit_s is not None:
        limits["init_command"] = f"SET SESSION wait_timeout={int(idle_limit_s)}"
    return create_engine(
        url,
        connect_args=limits,
        pool_size=pool_size,
        max_overflow=20,
        pool_pre_ping=True,
        pool_recycle=1800,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
    )


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
    cursor.execute("PRAGMA journal_mode=WAL")
    # A commit survives a power cut too: what was armed must never come back as free.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
