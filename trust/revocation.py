"""The authority's list of revoked certificates (a CRL, RFC 5280 section 5), at its end and at ours.

The list is signed, so whoever has it may hand it on; its number only grows, so an older one is
refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from trust.credentials import REVOCATIONS_FILE, Credentials
from trust.errors import CredentialsError, RevocationListError
from trust.files import write_whole

log = structlog.get_logger(__name__)

_LIFE_DAYS = 3650
"""Lists are handed on when they change, not fetched before they end."""
_BACKDATED = timedelta(hours=1)
"""For peers whose clock is behind."""


@dataclass(frozen=True)
class RevocationList:
    """A list whose signature is the authority's."""

    number: int
    serials: frozenset[int]
    pem: bytes

    @classmethod
    def read(cls, pem: bytes, authorities: Sequence[x509.Certificate]) -> RevocationList:
        """`authorities` are the one that issues, and those above it. Raises RevocationListError."""
        try:
            crl = x509.load_pem_x509_crl(pem)
            is_ours = any(_is_signed(crl, authority) for authority in authorities)
            number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        except (ValueError, TypeError, x509.ExtensionNotFound) as error:
            raise RevocationListError(
                f"This is no list of revoked certificates: {error}.",
                next_step="Hand on the file `revoked.pem` of the authority.",
            ) from error
        if not is_ours:
            raise RevocationListError(
                "This list of revoked certificates is not signed by our authority.",
                next_step="Hand on the file `revoked.pem` of the authority that issued the"
                " certificates here.",
            )
        return cls(number, frozenset(entry.serial_number for entry in crl), pem)


def _is_signed(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    return (
        crl.issuer == authority.subject
        and isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey)
        and crl.is_signature_valid(key)
    )


def sign_list(
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    number: int,
    serials: Iterable[int],
) -> bytes:
    """A list in PEM."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now - _BACKDATED)
        .next_update(now + timedelta(days=_LIFE_DAYS))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
    )
    for serial in sorted(serials):
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def begin_list(credentials: Credentials) -> None:
    """Where a service keeps no list yet, the one that came with its certificate is the first.

    So its own copy may lie in its state directory, the only place where a confined service writes.
    """
    file = credentials.revocations
    handed_out = credentials.authority.with_name(REVOCATIONS_FILE)
    if file is None or file.exists() or not handed_out.exists():
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, handed_out.read_bytes())
    except OSError as error:
        raise CredentialsError(
            f"The list of revoked certificates cannot be written to {file}: {error}.",
            next_step="Let `revocations` name a file below the service's state directory.",
        ) from error
    log.info("first list of revoked certificates", file=str(file), handed_out=str(handed_out))


class Revocations:
    """One service's copy of the list. Thread-safe; the file is read again when it changes.

    Whoever was revoked stays so while the file cannot be used.
    """

    def __init__(self, file: Path, authority: Path) -> None:
        self._file = file
        self._authority = authority
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._list: RevocationList | None = None
        self._fault = ""

    @property
    def current(self) -> RevocationList:
        """Raises CredentialsError where there is none that can be used."""
        with self._lock:
            return self._read()

    def is_revoked(self, serial: int) -> bool:
        """Raises CredentialsError if there never was a list that could be used."""
        with self._lock:
            return serial in self._usable().serials

    def take(self, pem: bytes) -> RevocationList:
        """Keep `pem` if it is the authority's and newer than ours; the list that then counts.

        Raises RevocationListError.
        """
        given = RevocationList.read(pem, self._authorities())
        with self._lock:
            ours = self._usable()
            if given.number == ours.number and given.serials != ours.serials:
                raise RevocationListError(
                    f"List {given.number} names other certificates than ours of that number.",
                    next_step="The authority's folder was set back: see docs/deploy.md.",
                )
            if given.number < ours.number:
                raise RevocationListError(
                    f"List {given.number} is older than ours, {ours.number}.",
                    next_step="Hand on the newest list.",
                )
            if given.number > ours.number or self._fault:
                self._keep(pem)
                log.info("certificates are revoked", list=given.number, count=len(given.serials))
            return self._read()

    def _usable(self) -> RevocationList:
        """What the file says, or what it said before it was damaged."""
        try:
            found = self._read()
        except CredentialsError as error:
            if self._list is None:
                raise
            if self._fault != error.detail:
                log.error("the last usable list still counts", why=error.detail)
            self._fault = error.detail
            return self._list
        self._fault = ""
        return found

    def _keep(self, pem: bytes) -> None:
        try:
            write_whole(self._file, pem)
        except OSError as error:
            raise RevocationListError(
                f"The list cannot be written to {self._file}: {error.strerror or error}.",
                next_step="Let `revocations` name a file below the service's state directory.",
            ) from error

    def _read(self) -> RevocationList:
        try:
            status = self._file.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if self._list is None or seen != self._seen:
                pem = self._file.read_bytes()
                self._list = RevocationList.read(pem, self._authorities())
                self._seen = seen
        except OSError as error:
            raise CredentialsError(
                f"The list of revoked certificates {self._file} cannot be read: {error}.",
                next_step="Copy `revoked.pem` from the authority's folder.",
            ) from error
        except RevocationListError as error:
            raise CredentialsError(
                f"The list of revoked certificates {self._file} cannot be used: {error.detail}",
                next_step="Put `revoked.pem` of the authority's folder there, whole: copy it beside"
                " the old one, then rename it.",
            ) from error
        return self._list

    def _authorities(self) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(self._authority.read_bytes())
        except (OSError, ValueError) as error:
            raise CredentialsError(
                f"The authority's certificate {self._authority} cannot be used: {error}.",
                next_step="Copy `authority.pem` from the authority's folder.",
            ) from error
