"""The name that a certificate gives to a service."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography import x509

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

    @classmethod
    def parse(cls, text: str) -> Identity:
        """`ROLE:NAME`, as settings name a service. Raises ValueError."""
        role, _, name = text.partition(":")
        return cls(Role(role), name)

    def __str__(self) -> str:
        return f"{self.role.value}:{self.name}"

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
        return cls.from_urns(value for kind, value in alternatives if kind == "URI")

    @classmethod
    def from_certificate(cls, certificate: x509.Certificate) -> Identity | None:
        """None unless it names exactly one service. Raises x509.ExtensionNotFound without names."""
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return cls.from_urns(names.get_values_for_type(x509.UniformResourceIdentifier))

    @classmethod
    def from_urns(cls, names: Iterable[str]) -> Identity | None:
        """The service that a certificate's URIs name; None unless it is exactly one."""
        urns = [name for name in names if name.startswith(URN)]
        if len(urns) != 1:
            return None
        role, _, name = urns[0].removeprefix(URN).partition(":")
        try:
            return cls(Role(role), name)
        except ValueError:
            return None
