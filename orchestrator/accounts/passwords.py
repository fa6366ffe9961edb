"""Passwords under argon2id."""

from __future__ import annotations

import secrets
import threading
from base64 import b64encode

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from orchestrator.errors import WeakPasswordError

MIN_CHARS = 12
MAX_CHARS = 256
_AT_ONCE = 2
"""Each takes 64 MiB; who tries many passwords at once waits instead of filling the memory."""


class Passwords:
    """Thread-safe. Parameters are those of RFC 9106's second choice (64 MiB, 3 passes)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """`hasher`: tests take a cheap one."""
        self._hasher = hasher or PasswordHasher()
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._nobodys = _nobodys(self._hasher)

    def hash(self, password: str) -> str:
        """Raises WeakPasswordError."""
        if not MIN_CHARS <= len(password) <= MAX_CHARS:
            raise WeakPasswordError(
                f"A password has {MIN_CHARS} to {MAX_CHARS} characters.",
                next_step="Choose a longer one: some words that nobody would put together.",
            )
        with self._turns:
            return self._hasher.hash(_bytes(password))

    def verify(self, password: str, stored: str | None) -> bool:
        """Whether it is the one; without `stored` it is not, after the same time."""
        with self._turns:
            try:
                self._hasher.verify(stored or self._nobodys, _bytes(password[: MAX_CHARS + 1]))
            except (VerificationError, InvalidHashError):
                return False
        return stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)


def _nobodys(hasher: PasswordHasher) -> str:
    """What is no password's, in the form and with the parameters of what `hasher` makes.

    Drawn, not computed: that would take each start the time and the memory of a sign-in.
    """
    salt, tag = (_base64(secrets.token_bytes(n)) for n in (hasher.salt_len, hasher.hash_len))
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2{hasher.type.name.lower()}$v={ARGON2_VERSION}${costs}${salt}${tag}"


def _base64(raw: bytes) -> str:
    """As PHC strings have it: without padding."""
    return b64encode(raw).decode().rstrip("=")


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
