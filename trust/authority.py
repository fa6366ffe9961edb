"""A small certificate authority for a lab or a first installation (X.509, ECDSA P-256).

Its folder: `authority.pem`, `authority.key`, `revoked.pem` (the list of revoked certificates) and
`issued/SERIAL.pem`, every certificate that it ever signed.
"""

from __future__ import annotations

import fcntl
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trust.credentials import AUTHORITY_FILE, REVOCATIONS_FILE, Credentials
from trust.errors import AuthorityExistsError, CredentialsError, UnknownCertificateError
from trust.files import Owner, write_secret, write_whole
from trust.identity import Identity
from trust.issued import Issued, Record
from trust.revocation import RevocationList, sign_list

AUTHORITY_DAYS = 3650
SERVICE_DAYS = 90
_KEY_FILE = "authority.key"
_BACKDATED = timedelta(minutes=5)


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
        self._record = Record(folder / "issued")
        if not self.revocations.exists():
            self._begin_list()

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
        self._record.keep(certificate)
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
        return self._add(serials)

    def revoke_certificate(self, pem: bytes) -> list[int]:
        """Revoke one that we signed, on record or not: from before there was one, or from before
        a folder that was restored. Raises UnknownCertificateError."""
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            certificate.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise UnknownCertificateError(
                "This is no certificate that the authority signed.",
                next_step="Name a PEM file with the certificate first, not its key.",
            ) from error
        return self._add({certificate.serial_number})

    def revoke_serial(self, serial: int) -> list[int]:
        """Revoke what carries this serial, whether we know it or not."""
        return self._add({serial})

    def issued(self) -> list[Issued]:
        """Every certificate that was signed here, oldest first."""
        return self._record.all(self._list().serials)

    def _of(self, identity: Identity) -> list[Issued]:
        found = [one for one in self.issued() if one.identity == identity]
        if not found:
            raise UnknownCertificateError(
                f"No certificate of {identity.dns_name} is on record in {self.folder}.",
                next_step="`qnfv pki list` shows what was issued; `qnfv pki issue` makes one.",
            )
        return found

    def _add(self, serials: set[int]) -> list[int]:
        """Which of them are new on the list."""
        with self._alone():
            before = self._list()
            new = serials - before.serials
            if new:
                self._publish(before.number + 1, before.serials | new)
        return sorted(new)

    def _begin_list(self) -> None:
        """An empty one, unless there was one: its like would be refused by whoever has that."""
        if not self._record.is_empty:
            raise CredentialsError(
                f"The list of revoked certificates {self.revocations} is gone, and certificates"
                " were issued: a new one would let back in whoever was revoked.",
                next_step="Copy it back from a service, from the orchestrator first: every service"
                " has one in its `revocations` file; take the one with the highest number"
                " (`openssl crl -in FILE -noout -crlnumber`).",
            )
        self._publish(1, ())

    def _list(self) -> RevocationList:
        return RevocationList.read(self.revocations.read_bytes(), [self._certificate])

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
