"""The key store of one end: who holds which key, in which state, for which message.

`supply` brings keys in, `uses` and `pads` give them to one message each, `withdrawal` takes them
out of use, `history` tells of both, `rows` is how any of this may change.
"""

from key_management.ledger.history import Interval
from key_management.ledger.ledger import KeyLedger
from key_management.ledger.records import (
    KEY_BYTES,
    Account,
    ExtractedKey,
    KeyRecord,
    Message,
    Quarantine,
)

__all__ = [
    "KEY_BYTES",
    "Account",
    "ExtractedKey",
    "Interval",
    "KeyLedger",
    "KeyRecord",
    "Message",
    "Quarantine",
]
