"""PKCS #12 files for Java, made of our PEM files."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from trust import Credentials

_CLUSTER_DAYS = 3650


@dataclass(frozen=True)
class Keystores:
    """Who we are (`key`) and whom we believe (`trust`); one password for both."""

    key: Path
    trust: Path
    password: str


def of_credentials(credentials: Credentials, folder: Path) -> Keystores:
    """What RESTCONF and OpenFlow show, and the authority whose certificates they take."""
    certificate = x509.load_pem_x509_certificate(credentials.certificate.read_bytes())
    authority = x509.load_pem_x509_certificate(credentials.authority.read_bytes())
    key = serialization.load_pem_private_key(credentials.key.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return _write(folder, "controller", key, certificate, authority)


def of_itself(folder: Path) -> Keystores:
    """A certificate that trusts nobody but itself: for a cluster of one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster of one")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=_CLUSTER_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _write(folder, "cluster", key, certificate, certificate)


def _write(
    folder: Path,
    stem: str,
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    trusted: x509.Certificate,
) -> Keystores:
    password = secrets.token_hex(24)
    lock = serialization.BestAvailableEncryption(password.encode())
    stores = Keystores(folder / f"{stem}.p12", folder / f"{stem}-trust.p12", password)
    chain = [trusted] if trusted != certificate else None
    identity = pkcs12.serialize_key_and_certificates(stem.encode(), key, certificate, chain, lock)
    believed = [pkcs12.PKCS12Certificate(trusted, b"authority")]
    for path, data in (
        (stores.key, identity),
        (stores.trust, pkcs12.serialize_java_truststore(believed, lock)),
    ):
        path.touch(mode=0o600)
        path.write_bytes(data)
    return stores
