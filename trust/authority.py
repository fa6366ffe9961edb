"""A small certificate authority for a lab or a first installation (X.509, ECDSA P-256).

Its folder: `authority.pem`, `authority.key`, `revoked.pem` (the list of revoked certificates) and
`issued/SERIAL.pem`, every certificate that it ever signed.
"""

from __future__ import annotations

import fcntl
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trust.credentials import AUTHORITY_FILE, REVOCATIONS_FILE, Credentials
from trust.errors import AuthorityExistsError, CredentialsError, UnknownCertificateError
from trust.files import Owner, write_secret, write_whole
from trust.identity import Identity
from trust.revocation import RevocationList, sign_list

AUTHORITY_DAYS = 3650
SERVICE_DAYS = 90
_KEY_FILE = "authority.key"
_BACKDATED = timedelta(minutes=5)


@dataclass(frozen=True)
class Issued:
    """One certificate that the authority signed."""

    serial: int
    identity: Identity
    addresses: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    is_revoked: bool


class Authority:
    """The authority of one lab; its key file must stay in the trusted data centre."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._certificate = x509.load_pem_x509_certificate(
                (folder / AUTHORITY_FILE).read_bytes()
            )
            key = serialization.load_pem_private_key(
                (folder / _KEY_FILE).read_bytes(), password=None
            )
        except (OSError, ValueError) as error:
            raise CredentialsError(
                f"No usable authority in {folder}: {error}.",
                next_step=f"Make one with `qnfv pki init {folder}`.",
            ) from error
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        if not self.revocations.exists():
            self._publish(1, ())

    @classmethod
    def create(cls, folder: Path, name: str = "qnfv lab authority") -> Authority:
        """Make a new authority in `folder`; refuses to replace one."""
        if (folder / _KEY_FILE).exists():
            raise AuthorityExistsError(
                f"{folder} holds an authority already; replacing it would cut off every service.",
                next_step="Issue from it, or choose an empty folder.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(
                    key_cert_sign=True,
                    crl_sign=True,
                    digital_signature=False,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        write_secret(folder / _KEY_FILE, key_pem(key))
        write_whole(folder / AUTHORITY_FILE, _pem(certificate))
        return cls(folder)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, in hex: what people compare by eye."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def certificate_pem(self) -> bytes:
        return _pem(self._certificate)

    @property
    def revocations(self) -> Path:
        """The list of revoked certificates, to be handed to every service."""
        return self.folder / REVOCATIONS_FILE

    # --- issuing

    def issue(
        self,
        identity: Identity,
        *,
        addresses: tuple[str, ...] = (),
        days: int = SERVICE_DAYS,
        into: Path | None = None,
        owner: Owner | None = None,
    ) -> Credentials:
        """Make key and certificate of one service, written to `into` (default: our folder).

        The key is `owner`'s, or of the one whose key it replaces.
        """
        into = into or self.folder
        into.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.sign(key.public_key(), identity, addresses=addresses, days=days)
        credentials = Credentials.in_folder(into, identity)
        write_secret(credentials.key, key_pem(key), owner=owner)
        write_whole(credentials.certificate, certificate)
        if into != self.folder:
            self.hand_out(into)
        return credentials

    def hand_out(self, folder: Path) -> None:
        """What every service needs of us: our certificate and the list of revoked ones."""
        write_whole(folder / AUTHORITY_FILE, self.certificate_pem)
        write_whole(folder / REVOCATIONS_FILE, self.revocations.read_bytes())

    def sign(
        self,
        public_key: ec.EllipticCurvePublicKey,
        identity: Identity,
        *,
        addresses: tuple[str, ...] = (),
        days: int = SERVICE_DAYS,
    ) -> bytes:
        """The certificate, in PEM, of a service whose key lies elsewhere."""
        now = datetime.now(UTC)
        alternatives: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(identity.urn),
            x509.DNSName(identity.dns_name),
            *(_address(address) for address in addresses),
        ]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(identity.dns_name))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
            .sign(self._key, hashes.SHA256())
        )
        (self.folder / "issued").mkdir(exist_ok=True)
        write_whole(
            self.folder / "issued" / f"{certificate.serial_number:040x}.pem", _pem(certificate)
        )
        return _pem(certificate)

    def renew(
        self,
        identity: Identity,
        *,
        days: int = SERVICE_DAYS,
        into: Path | None = None,
        owner: Owner | None = None,
    ) -> Credentials:
        """A new key and certificate with the addresses of the newest one. Older ones stay valid
        until they end, or until they are revoked. Raises UnknownCertificateError."""
        newest = max(self._of(identity), key=lambda one: one.not_before)
        return self.issue(identity, addresses=newest.addresses, days=days, into=into, owner=owner)

    # --- revoking

    def revoke(self, identity: Identity, *, serial: int | None = None) -> list[int]:
        """Revoke one certificate of a service, or all of them; the serials that are new on the
        list. Raises UnknownCertificateError."""
        serials = {one.serial for one in self._of(identity)}
        if serial is not None:
            if serial not in serials:
                raise UnknownCertificateError(
                    f"{identity.dns_name} never had a certificate {serial:x}.",
                    next_step="`qnfv pki list` shows what was issued.",
                )
            serials = {serial}
        with self._alone():
            before = self._list()
            new = serials - before.serials
            if new:
                self._publish(before.number + 1, before.serials | new)
        return sorted(new)

    def issued(self) -> list[Issued]:
        """Every certificate that was signed here, oldest first."""
        revoked = self._list().serials
        certificates = [
            x509.load_pem_x509_certificate(file.read_bytes())
            for file in (self.folder / "issued").glob("*.pem")
        ]
        found = [_issued(certificate, revoked) for certificate in certificates]
        return sorted((one for one in found if one is not None), key=lambda one: one.not_before)

    def _of(self, identity: Identity) -> list[Issued]:
        found = [one for one in self.issued() if one.identity == identity]
        if not found:
            raise UnknownCertificateError(
                f"No certificate of {identity.dns_name} is on record in {self.folder}.",
                next_step="`qnfv pki list` shows what was issued; `qnfv pki issue` makes one.",
            )
        return found

    def _list(self) -> RevocationList:
        return RevocationList.read(self.revocations.read_bytes(), self._certificate)

    def _publish(self, number: int, serials: frozenset[int] | tuple[int, ...]) -> None:
        write_whole(self.revocations, sign_list(self._certificate, self._key, number, serials))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two people who revoke at once: one after the other."""
        with (self.folder / _KEY_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _address(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key in PEM, in the clear: write it to a file that is closed to others."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


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
