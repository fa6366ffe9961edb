"""Ports for processes under test."""

from __future__ import annotations

import contextlib
import secrets
import socket


def free_port() -> int:
    """A port that is free now, below the range that outgoing connections take theirs from."""
    while True:
        port = secrets.choice(range(20000, 32000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
