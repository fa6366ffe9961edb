"""A small certificate authority for a lab or a first installation (X.509, ECDSA P-256)."""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trust.errors import AuthorityExistsError, CredentialsError
from trust.identity import Identity

log = structlog.get_logger(__name__)

AUTHORITY_DAYS = 3650
SERVICE_DAYS = 90


@dataclass(frozen=True)
class Credentials:
    """The three PEM files with which a service proves itself and checks its peers.

    `tls_key_log` is for the laboratory's capture mode alone: the session keys of every connection
    are written there (the form of NSS), so that whoever has the file can read what was captured.
    """

    certificate: Path
    key: Path
    authority: Path
    tls_key_log: Path | None = None

    @classmethod
    def in_folder(cls, folder: Path, identity: Identity) -> Credentials:
        stem = f"{identity.name}.{identity.role.value}"
        return cls(folder / f"{stem}.pem", folder / f"{stem}.key", folder / "authority.pem")


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _write_secret(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class Authority:
    """The authority of one lab; its key file must stay in the trusted data centre."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._certificate = x509.load_pem_x509_certificate(
                (folder / "authority.pem").read_bytes()
            )
            key = serialization.load_pem_private_key(
                (folder / "authority.key").read_bytes(), password=None
            )
        except (OSError, ValueError) as error:
            raise CredentialsError(
                f"No usable authority in {folder}: {error}.",
                next_step=f"Make one with `qnfv pki init {folder}`.",
            ) from error
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    @classmethod
    def create(cls, folder: Path, name: str = "qnfv lab authority") -> Authority:
        """Make a new authority in `folder`; refuses to replace one."""
        if (folder / "authority.key").exists():
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
            .not_valid_before(now - timedelta(minutes=5))
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
        _write_secret(folder / "authority.key", _key_pem(key))
        (folder / "authority.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, in hex: what people compare by eye."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    def issue(
        self,
        identity: Identity,
        *,
        addresses: tuple[str, ...] = (),
        days: int = SERVICE_DAYS,
        into: Path | None = None,
    ) -> Credentials:
        """Make key and certificate of one service, written to `into` (default: our folder)."""
        into = into or self.folder
        into.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        alternatives: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(identity.urn),
            x509.DNSName(identity.dns_name),
        ]
        for address in addresses:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(address)))
            except ValueError:
                alternatives.append(x509.DNSName(address))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(identity.dns_name))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
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
        credentials = Credentials.in_folder(into, identity)
        _write_secret(credentials.key, _key_pem(key))
        credentials.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        if credentials.authority != self.folder / "authority.pem":
            credentials.authority.write_bytes((self.folder / "authority.pem").read_bytes())
        return credentials


def tls_context(credentials: Credentials, *, server: bool) -> ssl.SSLContext:
    """A TLS 1.3 context that shows our certificate and insists on the peer's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(credentials.authority)
        context.load_cert_chain(credentials.certificate, credentials.key)
    except (OSError, ssl.SSLError) as error:
        raise CredentialsError(
            f"Cannot use {credentials.certificate} with its key and {credentials.authority}: "
            f"{error}.",
            next_step="Issue a certificate with `qnfv pki issue`, and check the paths.",
        ) from error
    if credentials.tls_key_log is not None:
        log.warning("TLS session keys are written to a file", file=str(credentials.tls_key_log))
        context.keylog_filename = str(credentials.tls_key_log)
    return context
