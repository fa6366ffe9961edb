"""Carries a VNF image from a sender to a receiver, sealed under a quantum key.

The stream is specified in FORMAT.md. This package knows sockets and files, but no web framework
and no database: announcements, tickets and receipts travel on whatever control channel the caller
has, and keys come from a `KeyDerivation` that the caller's key store provides.
"""

from image_transfer.announcement import Announcement, Attempt, Direction, KeySource, Suite
from image_transfer.attempts import ReceiverState
from image_transfer.header import Header
from image_transfer.keys import AttemptKeys, KeyDerivation, ReceiptKey, derive_attempt_keys
from image_transfer.receipt import Receipt, make_receipt, verify_receipt
from image_transfer.receiver import (
    ImageReceiver,
    ReceiveReport,
    ReceiverLimits,
    read_header,
)
from image_transfer.sender import SendReport, send_image
from image_transfer.sink import MemorySink, Sink

__all__ = [
    "Announcement",
    "Attempt",
    "AttemptKeys",
    "Direction",
    "Header",
    "ImageReceiver",
    "KeyDerivation",
    "KeySource",
    "MemorySink",
    "Receipt",
    "ReceiptKey",
    "ReceiveReport",
    "ReceiverLimits",
    "ReceiverState",
    "SendReport",
    "Sink",
    "Suite",
    "derive_attempt_keys",
    "make_receipt",
    "read_header",
    "send_image",
    "verify_receipt",
]
