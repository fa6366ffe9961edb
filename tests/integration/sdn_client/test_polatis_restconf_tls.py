"""The driver `polatis_restconf` and the emulated device over TLS."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sdn_client.drivers.polatis_restconf import PolatisDriver
from sdn_client.drivers.polatis_tree import PolatisOptions
from sdn_client.drivers.port import wait_connected
from sdn_client.topology import CrossConnect, load_topology

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    certificate, key = self_signed(tmp_path, "polatis")
    (tmp_path / "password").write_text("secret-1\n")
    while True:
        port = secrets.choice(range(20000, 32000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            break
    command = [sys.executable, "-m", "emulators.polatis", "--topology", str(LAB)]
    command += ["--chassis", "polatis-1", "--profile", "restconf", "--listen", f"127.0.0.1:{port}"]
    command += ["--password-file", str(tmp_path / "password")]
    command += ["--tls-certificate", str(certificate), "--tls-key", str(key)]
    process = subprocess.Popen(command)
    yield f"https://127.0.0.1:{port}"
    process.kill()
    process.wait(10)


def driver(url: str, folder: Path, ca: Path | None) -> PolatisDriver:
    options = PolatisOptions(
        url=url, password_file=folder / "password", ca_file=ca, poll_interval_s=0.05
    )
    return PolatisDriver(options, load_topology(LAB))


def test_a_switch_with_the_right_certificate_is_used(url: str, tmp_path: Path) -> None:
    made = driver(url, tmp_path, tmp_path / "polatis.pem")
    assert wait_connected(made, ["polatis-1"], 20)
    made.apply(connect=[CrossConnect("polatis-1", 1, 2)])
    made.close()


def test_a_switch_with_another_certificate_never_sees_the_password(
    url: str, tmp_path: Path
) -> None:
    stranger, _ = self_signed(tmp_path, "stranger")
    for ca in (stranger, None):
        made = driver(url, tmp_path, ca)
        deadline = time.monotonic() + 20
        while "certificate" not in (fault := made.chassis_states()["polatis-1"].fault).lower():
            assert time.monotonic() < deadline, fault
            time.sleep(0.02)  # until the process listens, bounded by the deadline
        made.close()
