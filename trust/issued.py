"""The authority's record of what it signed: one file a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from trust.files import write_whole
from trust.identity import Identity


@dataclass(frozen=True)
class Issued:
    """One certificate that the authority signed."""

    serial: int
    identity: Identity
    addresses: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    is_revoked: bool


class Record:
    """The folder `issued/SERIAL.pem`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def is_empty(self) -> bool:
        return not any(self._folder.glob("*.pem"))

    def keep(self, certificate: x509.Certificate) -> None:
        self._folder.mkdir(exist_ok=True)
        write_whole(
            self._folder / f"{certificate.serial_number:040x}.pem",
            certificate.public_bytes(serialization.Encoding.PEM),
        )

    def all(self, revoked: frozenset[int]) -> list[Issued]:
        """Oldest first."""
        certificates = [
            x509.load_pem_x509_certificate(file.read_bytes()) for file in self._folder.glob("*.pem")
        ]
        found = [_issued(certificate, revoked) for certificate in certificates]
        return sorted((one for one in found if one is not None), key=lambda one: one.not_before)


def _issued(certificate: x509.Certificate, revoked: frozenset[int]) -> Issued | None:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    identity = Identity.from_certificate(certificate)
    if identity is None:
        return None
    hosts = [n for n in names.get_values_for_type(x509.DNSName) if n != identity.dns_name]
    hosts += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return Issued(
        serial=certificate.serial_number,
        identity=identity,
        addresses=tuple(hosts),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        is_revoked=certificate.serial_number in revoked,
    )
