"""What OpenFlow 1.0 and 1.3 have in common: these messages, with these types, in this form."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

ERROR_LAYOUT = struct.Struct("!HH")
"""Type and code; the beginning of the request follows."""


@dataclass(frozen=True)
class Message:
    """Any message; `xid` joins a request and its answers."""

    TYPE: ClassVar[int]

    xid: int

    def body(self) -> bytes:
        """The bytes behind the header."""
        return b""


@dataclass(frozen=True)
class ErrorMessage(Message):
    TYPE = 1

    type: int
    code: int
    data: bytes = b""

    def body(self) -> bytes:
        return ERROR_LAYOUT.pack(self.type, self.code) + self.data


@dataclass(frozen=True)
class EchoRequest(Message):
    TYPE = 2

    data: bytes = b""

    def body(self) -> bytes:
        return self.data


@dataclass(frozen=True)
class EchoReply(Message):
    TYPE = 3

    data: bytes = b""

    def body(self) -> bytes:
        return self.data


@dataclass(frozen=True)
class FeaturesRequest(Message):
    TYPE = 5
