"""How every room keeps its tables: engines that behave alike on SQLite and MySQL, column types,
and one way to migrate.

SQLite runs in WAL mode with immediate transactions, so that a reader never blocks and two writers
queue instead of failing half way; MySQL and MariaDB are spoken to through PyMySQL.
"""

from database.batches import in_batches
from database.deadlocks import DEADLOCK, LOCK_WAIT_TIMEOUT, in_transaction
from database.engine import open_engine
from database.exclusive import Exclusive
from database.migration import migrate
from database.session import changed, reading, writing
from database.types import BinaryUuid, MicrosecondTime

__all__ = [
    "DEADLOCK",
    "LOCK_WAIT_TIMEOUT",
    "BinaryUuid",
    "Exclusive",
    "MicrosecondTime",
    "changed",
    "in_batches",
    "in_transaction",
    "migrate",
    "open_engine",
    "reading",
    "writing",
]
