"""The name that a certificate gives to a service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

URN = "urn:qnfv:identity:"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Role(StrEnum):
    ORCHESTRATOR = "orchestrator"
    SLAVE = "slave"
    UNIT_AGENT = "unit-agent"
    KME = "kme"
    SAE = "sae"
    CONTROLLER = "controller"
    OPTICAL_AGENT = "optical-agent"


@dataclass(frozen=True)
class Identity:
    """One service: its role and a name unique within that role (a DNS label)."""

    role: Role
    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no name for a service: "
                "use lower-case letters, digits and inner hyphens, at most 63"
            )

    @property
    def dns_name(self) -> str:
        return f"{self.name}.{self.role.value}.qnfv.internal"

    @property
    def urn(self) -> str:
        return f"{URN}{self.role.value}:{self.name}"

    @classmethod
    def from_peer_certificate(cls, certificate: dict[str, Any] | None) -> Identity | None:
        """Read `ssl.SSLSocket.getpeercert()`; None unless it names exactly one service."""
        alternatives = (certificate or {}).get("subjectAltName", ())
        urns = [value for kind, value in alternatives if kind == "URI" and value.startswith(URN)]
        if len(urns) != 1:
            return None
        role, _, name = urns[0].removeprefix(URN).partition(":")
        try:
            return cls(Role(role), name)
        except ValueError:
            return None
