"""Transactions that another one may have to give way to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from database.session import writing

_DEADLOCK = 1213
"""MySQL and MariaDB: `ER_LOCK_DEADLOCK`; the server rolled one of the two back."""
_TRIES = 4
Result = TypeVar("Result")


def in_transaction(engine: Engine, work: Callable[[Session], Result]) -> Result:
    """Run `work` in a transaction; again where the server chose it as a deadlock's victim.

    `work` may run several times, so all that it changes must be in the database.
    """
    tries = 0
    while True:
        try:
            with writing(engine) as session:
                return work(session)
        except OperationalError as error:
            tries += 1
            code = error.orig.args[0] if error.orig is not None and error.orig.args else None
            if code != _DEADLOCK or tries == _TRIES:
                raise
