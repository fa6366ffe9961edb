"""A data centre under an authority that is not ours: RSA, a root and one below it, and its CRL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from nfv_stack.app import build_app
from nfv_stack.contract.audit_heads import check_head, sign_head
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import HeadRefusedError, SlaveRefusedError, SlaveUnreachableError
from nfv_stack.settings import IntakeTable, SlaveSettings, VimTable
from trust import Authority, Credentials, Identity, Role
from trust.client import open_client
from trust.errors import RevocationListError
from trust.server import mutual_tls_server

SLAVE = Identity(Role.SLAVE, "dc-1")
ORCHESTRATOR = Identity(Role.ORCHESTRATOR, "central")
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class Company:
    """What a company's authority does: extensions as RFC 5280 demands, nothing of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        root_key, self._key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
        root = self._authority("Company Root", "Company Root", root_key.public_key(), root_key)
        self._issuing = self._authority(
            "Company Issuing", "Company Root", self._key.public_key(), root_key
        )
        self.bundle = folder / "authority.pem"
        self.bundle.write_bytes(_pem(root) + _pem(self._issuing))
        self.list_file = folder / "revoked.pem"
        self.publish(1)

    def issue(
        self,
        identity: Identity,
        name: str = "",
        *,
        usages: tuple[ObjectIdentifier, ...] = BOTH,
        has_urn: bool = True,
    ) -> Credentials:
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(identity.dns_name)]
        if has_urn:
            names.append(x509.UniformResourceIdentifier(identity.urn))
        certificate = (
            _builder(f"{identity.name} of our company", "Company Issuing", key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        stem = self.folder / (name or identity.name)
        files = Credentials(
            stem.with_suffix(".pem"), stem.with_suffix(".key"), self.bundle, None, self.list_file
        )
        files.certificate.write_bytes(_pem(certificate) + _pem(self._issuing))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def publish(self, number: int, *revoked: Credentials, days: float = 7) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_name("Company Issuing"))
            .last_update(now - timedelta(days=2))
            .next_update(now + timedelta(days=days))
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for one in revoked:
            serial = x509.load_pem_x509_certificate(one.certificate.read_bytes()).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        pem = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.list_file.write_bytes(pem)
        return pem

    @staticmethod
    def _authority(
        name: str, issuer: str, key: rsa.RSAPublicKey, signer: rsa.RSAPrivateKey
    ) -> x509.Certificate:
        return (
            _builder(name, issuer, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .sign(signer, hashes.SHA256())
        )


def _builder(
    name: str, issuer: str, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=30))
    )


def _usage(**given: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


Ask = Callable[[Credentials], SlaveClient]


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path / "company")


@pytest.fixture
def ask(company: Company, tmp_path: Path) -> Iterator[Ask]:
    """The whole stack of a data centre, with certificates of the company."""
    state = tmp_path / "state"
    credentials = replace(company.issue(SLAVE), revocations=state / "revoked.pem")
    settings = SlaveSettings(
        name=SLAVE.name,
        port=0,
        credentials=credentials,
        database_url=f"sqlite:///{state / 'slave.sqlite'}",
        state_dir=state,
        intake=IntakeTable(port=0),
        vim=VimTable(driver="emulated"),
    )
    server = mutual_tls_server(
        build_app(settings), host="127.0.0.1", port=0, credentials=credentials
    )
    started, startup = threading.Event(), server.startup

    async def begin(sockets: object = None) -> None:
        await startup()
        started.set()

    server.startup = begin  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(20)
    url = f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    opened: list[SlaveClient] = []

    def client(ours: Credentials) -> SlaveClient:
        http = open_client(url, credentials=ours, peer=SLAVE, timeout_s=5)
        opened.append(SlaveClient(SLAVE.name, http))
        return opened[-1]

    yield client
    for one in opened:
        one.close()
    server.should_exit = True
    thread.join(20)


def test_a_company_s_certificates_open_the_gateway_until_they_are_on_its_list(
    company: Company, ask: Ask
) -> None:
    ours = company.issue(ORCHESTRATOR)
    # Without a list of its own, whose change would make it connect anew.
    other = replace(company.issue(Identity(Role.ORCHESTRATOR, "other")), revocations=None)
    slave, suspicious = ask(ours), ask(other)
    assert slave.data_centre().name == SLAVE.name
    assert suspicious.data_centre().name == SLAVE.name
    slave.take_revocations(company.publish(2, other))
    with pytest.raises(SlaveRefusedError, match="revoked"):  # over the connection that stands
        suspicious.data_centre()
    with pytest.raises(SlaveUnreachableError):
        ask(other).data_centre()
    assert slave.data_centre().name == SLAVE.name


def test_who_has_no_name_of_ours_or_may_not_be_a_client_is_refused(
    company: Company, ask: Ask
) -> None:
    nameless = company.issue(ORCHESTRATOR, "nameless", has_urn=False)
    with pytest.raises(SlaveRefusedError, match="may not do this"):
        ask(nameless).data_centre()
    server_only = company.issue(
        ORCHESTRATOR, "server-only", usages=(ExtendedKeyUsageOID.SERVER_AUTH,)
    )
    with pytest.raises(SlaveUnreachableError):
        ask(server_only).data_centre()


def test_a_list_of_somebody_else_is_refused(company: Company, ask: Ask, tmp_path: Path) -> None:
    slave = ask(company.issue(ORCHESTRATOR))
    for stranger in (
        Authority.create(tmp_path / "lab").revocations.read_bytes(),
        Company(tmp_path / "namesake").publish(9),
    ):
        with pytest.raises((RevocationListError, httpx.HTTPError), match="not signed by our"):
            slave.take_revocations(stranger)


def test_a_list_that_is_over_ends_new_connections(company: Company, ask: Ask) -> None:
    """As docs/deploy.md warns: our own authority's lists live for ten years, these do not."""
    ours = replace(company.issue(ORCHESTRATOR), revocations=None)
    slave = ask(ours)
    slave.take_revocations(company.publish(2, days=-1))
    with pytest.raises(SlaveUnreachableError):
        ask(ours).data_centre()
    slave.take_revocations(company.publish(3))  # over the connection that stands
    assert ask(ours).data_centre().name == SLAVE.name


def test_heads_of_the_audit_are_signed_and_checked_under_it(company: Company, ask: Ask) -> None:
    ours = company.issue(ORCHESTRATOR)
    slave = ask(ours)
    head = sign_head("central", 7, bytes(32), datetime.now(UTC), ours)
    slave.keep_audit_head(head)
    (kept,) = slave.audit_heads("central")
    check_head(kept, company.bundle.read_bytes())
    with pytest.raises(HeadRefusedError):
        check_head(head, Authority.create(company.folder / "lab").certificate_pem)
