"""The token that one side prints and the other is given."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretBytes, ValidationError

from trust.errors import JoinTokenError
from trust.identity import Identity

_PREFIX = "qnfv-join-1."
MAC_HEADER = "X-Qnfv-Join-Mac"


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    address: str = Field(min_length=3, max_length=300)
    identities: list[str] = Field(min_length=1, max_length=16)
    authority: str = Field(pattern=r"^[0-9a-f]{64}$")
    secret: str = Field(pattern=r"^[0-9a-f]{64}$")
    expires_at: AwareDatetime


class JoinToken:
    """For whom, by whom, until when, and where to ask. Whoever has it can join in that name."""

    def __init__(
        self,
        address: str,
        identities: tuple[Identity, ...],
        authority: str,
        secret: bytes,
        expires_at: datetime,
    ) -> None:
        """`address` is `HOST:PORT`, `authority` the SHA-256 of its certificate in hex, `secret`
        32 random bytes."""
        self.address = address
        self.identities = identities
        self.authority = authority
        self.expires_at = expires_at
        self._secret = SecretBytes(secret)

    def __repr__(self) -> str:
        return f"JoinToken({self.address}, {', '.join(str(one) for one in self.identities)})"

    @property
    def text(self) -> str:
        """What is handed over, on a way that others do not read."""
        content = _Content(
            address=self.address,
            identities=[str(one) for one in self.identities],
            authority=self.authority,
            secret=self._secret.get_secret_value().hex(),
            expires_at=self.expires_at,
        )
        return _PREFIX + base64.urlsafe_b64encode(content.model_dump_json().encode()).decode()

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Raises JoinTokenError."""
        text = "".join(text.split())  # terminals break long lines
        if not text.startswith(_PREFIX):
            raise JoinTokenError(
                f"A join token begins with {_PREFIX}",
                next_step="Copy the whole token that `qnfv dc add` printed.",
            )
        try:
            content = _Content.model_validate_json(
                base64.b64decode(text.removeprefix(_PREFIX), altchars=b"-_", validate=True)
            )
            identities = tuple(Identity.parse(one) for one in content.identities)
        except (binascii.Error, ValidationError, ValueError):
            # Without its cause: that would show the token.
            raise JoinTokenError(
                "The join token is damaged.",
                next_step="Copy the whole token that `qnfv dc add` printed.",
            ) from None
        return cls(
            content.address,
            identities,
            content.authority,
            bytes.fromhex(content.secret),
            content.expires_at,
        )

    def is_over(self) -> bool:
        return datetime.now(UTC) >= self.expires_at

    def mac(self, kind: str, body: bytes) -> str:
        """HMAC-SHA256 of a body, for one kind of message."""
        message = kind.encode() + b"\n" + body
        return hmac.new(self._secret.get_secret_value(), message, hashlib.sha256).hexdigest()

    def is_true(self, kind: str, body: bytes, mac: str) -> bool:
        return hmac.compare_digest(self.mac(kind, body).encode(), mac.encode())
