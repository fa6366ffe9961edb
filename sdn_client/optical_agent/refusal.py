"""The agent's No to a request."""

from __future__ import annotations

from enum import IntEnum


class Refusal(Exception):
    """A request is refused: the OpenFlow error type and code, and the reason for the log."""

    def __init__(self, error_type: IntEnum, code: IntEnum, reason: str) -> None:
        super().__init__(reason)
        self.error_type = error_type
        self.code = code
