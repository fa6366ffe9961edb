"""Transactions that another one may have to give way to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from database.session import writing

DEADLOCK = 1213
"""MySQL and MariaDB: `ER_LOCK_DEADLOCK`; the server rolled one of the two back."""
LOCK_WAIT_TIMEOUT = 1205
"""`ER_LOCK_WAIT_TIMEOUT`; a lock was not released in time."""
Result = TypeVar("Result")


def in_transaction(
    engine: Engine,
    work: Callable[[Session], Result],
    *,
    tries: int = 4,
    gives_way_to: Collection[int] = (DEADLOCK,),
) -> Result:
    """Run `work` in a transaction; again where the server chose it as a deadlock's victim.

    `work` may run several times, so all that it changes must be in the database. `gives_way_to`
    are the server's errors after which it is tried again.
    """
    tried = 0
    while True:
        try:
            with writing(engine) as session:
                return work(session)
        except OperationalError as error:
            tried += 1
            code = error.orig.args[0] if error.orig is not None and error.orig.args else None
            if code not in gives_way_to or tried == tries:
                raise
