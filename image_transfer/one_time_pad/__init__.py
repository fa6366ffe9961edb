"""The one-time pad: a format of its own for small, secret images (FORMAT.md).

`layout` says which block serves what, `sealing` makes and opens the sealed bytes, `sender` and
`receiver` are the two ends of a connection, `receipt` is the receiver's word.
"""

from image_transfer.one_time_pad.layout import (
    CHUNK_LOG2_DEFAULT,
    PadAnnouncement,
    content_bytes,
    pad_blocks,
    pad_commitment,
)
from image_transfer.one_time_pad.receipt import PadReceipt, make_pad_receipt, verify_pad_receipt
from image_transfer.one_time_pad.receiver import PadImage, PadReceiver, read_opening
from image_transfer.one_time_pad.sealing import Opening, seal_file
from image_transfer.one_time_pad.sender import send_sealed_file

__all__ = [
    "CHUNK_LOG2_DEFAULT",
    "Opening",
    "PadAnnouncement",
    "PadImage",
    "PadReceipt",
    "PadReceiver",
    "content_bytes",
    "make_pad_receipt",
    "pad_blocks",
    "pad_commitment",
    "read_opening",
    "seal_file",
    "send_sealed_file",
    "verify_pad_receipt",
]
