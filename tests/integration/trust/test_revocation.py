"""Revoked, renewed and unlisted certificates, against services that run on."""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, cast

import httpx
import pytest
from cryptography import x509
from fastapi import Depends, FastAPI
from typer.testing import CliRunner

from problem_details import answers, rest
from timekeeping import FakeClock
from trust import Authority, Credentials, Identity, Role
from trust.cli import app as pki
from trust.client import _NamedPeer, open_client
from trust.contexts import LiveContext, tls_context
from trust.delivery import OURS, ListView, RevocationCourier, send_list
from trust.errors import (
    CredentialsError,
    NotAllowedError,
    RevocationListError,
    UnknownCertificateError,
)
from trust.revocation import Revocations
from trust.server import mutual_tls_server, require_role

SLAVE = Identity(Role.SLAVE, "dc-1")
ORCHESTRATOR = Identity(Role.ORCHESTRATOR, "central")
OTHER = Identity(Role.ORCHESTRATOR, "other")

Client = Callable[[Credentials], httpx.Client]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "pki")


@contextmanager
def serving(credentials: Credentials, courier: RevocationCourier | None = None) -> Iterator[str]:
    app = FastAPI()
    app.state.revocation_courier = courier
    rest.install(app, {NotAllowedError: 403})

    @app.get("/who")
    def who(caller: Annotated[Identity, Depends(require_role(Role.ORCHESTRATOR))]) -> str:
        return caller.urn

    server = mutual_tls_server(app, host="127.0.0.1", port=0, credentials=credentials)
    started = threading.Event()
    original = server.startup

    async def startup(sockets: object = None) -> None:
        await original()
        started.set()

    server.startup = startup  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(10)
    try:
        yield f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def service(authority: Authority, tmp_path: Path) -> Credentials:
    """A service with files of its own, as on a host of its own."""
    return authority.issue(SLAVE, into=tmp_path / "service")


@pytest.fixture
def client(service: Credentials) -> Iterator[Client]:
    with serving(service) as url:
        yield lambda credentials: open_client(url, credentials=credentials, peer=SLAVE)


@pytest.fixture
def ours(authority: Authority, tmp_path: Path) -> Credentials:
    return authority.issue(ORCHESTRATOR, into=tmp_path / "ours")


def deliver(authority: Authority, http: httpx.Client) -> None:
    send_list(http, authority.revocations.read_bytes())


def test_a_revoked_certificate_is_refused_from_the_next_request_and_connection_on(
    authority: Authority, client: Client, ours: Credentials, tmp_path: Path
) -> None:
    bad = authority.issue(OTHER, into=tmp_path / "bad")
    with client(ours) as good, client(bad) as standing:
        assert standing.get("/who").is_success
        authority.revoke(OTHER)
        deliver(authority, good)
        refused = standing.get("/who")  # over the connection that stands
        assert refused.status_code == 403
        problem = answers.read(
            refused.status_code, refused.headers["content-type"], refused.content
        )
        assert "revoked" in problem.detail
        with client(bad) as again, pytest.raises(httpx.TransportError):
            again.get("/who")
        assert good.get("/who").is_success


def test_a_client_refuses_a_server_that_was_revoked(
    authority: Authority, client: Client, ours: Credentials
) -> None:
    with client(ours) as http:
        assert http.get("/who").is_success
        authority.revoke(SLAVE)
        assert ours.revocations is not None
        ours.revocations.write_bytes(authority.revocations.read_bytes())
        with pytest.raises(httpx.ConnectError, match="revoked"):
            http.get("/who")


def test_a_renewed_certificate_is_shown_without_a_restart(
    authority: Authority, service: Credentials, ours: Credentials
) -> None:
    def serial(url: str) -> str:
        with open_client(url, credentials=ours, peer=SLAVE) as http:
            stream = http.get("/who").extensions["network_stream"]
            certificate = stream.get_extra_info("ssl_object").getpeercert()
            return str(certificate["serialNumber"])

    with serving(service) as url:
        before = serial(url)
        authority.renew(SLAVE, into=service.certificate.parent)
        after = serial(url)
    assert before != after
    assert [one.identity for one in authority.issued()].count(SLAVE) == 2


def test_who_is_not_on_the_allow_list_is_refused(
    authority: Authority, service: Credentials, ours: Credentials, tmp_path: Path
) -> None:
    other = authority.issue(OTHER, into=tmp_path / "other")
    listed = replace(service, allowed_peers=(str(ORCHESTRATOR),))
    with serving(listed) as url:
        with open_client(url, credentials=ours, peer=SLAVE) as http:
            assert http.get("/who").is_success
        with open_client(url, credentials=other, peer=SLAVE) as http:
            assert http.get("/who").status_code == 403


@pytest.mark.parametrize("damage", ["stranger", "older", "cut", "nothing", "words"])
def test_a_list_that_is_not_the_authority_s_newest_is_refused_and_nothing_changes(
    authority: Authority,
    client: Client,
    service: Credentials,
    ours: Credentials,
    tmp_path: Path,
    damage: str,
) -> None:
    stranger = Authority.create(tmp_path / "stranger")
    older = authority.revocations.read_bytes()
    authority.issue(OTHER)
    authority.revoke(OTHER)
    assert service.revocations is not None
    service.revocations.write_bytes(authority.revocations.read_bytes())
    lists = {
        "stranger": stranger.revocations.read_bytes(),
        "older": older,
        "cut": authority.revocations.read_bytes()[:-60],
        "nothing": b"",
        "words": b"-----BEGIN X509 CRL-----\nbm90aGluZw==\n-----END X509 CRL-----\n",
    }
    with client(ours) as http, pytest.raises(RevocationListError):
        send_list(http, lists[damage])
    kept = Revocations(service.revocations, service.authority).current
    assert (kept.number, len(kept.serials)) == (2, 1)


def test_a_courier_brings_the_list_to_whoever_answers_and_later_to_the_rest(
    authority: Authority, client: Client, service: Credentials, ours: Credentials
) -> None:
    away = True

    def give_to_far(pem: bytes) -> ListView:
        if away:
            raise httpx.ConnectError("nobody there")
        far.append(pem)
        return ListView(number=2, revoked=1)

    far: list[bytes] = []
    with client(ours) as http:
        courier = RevocationCourier(
            ours, {"near": lambda pem: send_list(http, pem), "far": give_to_far}
        )
        authority.issue(OTHER)
        authority.revoke(OTHER)
        assert ours.revocations is not None
        ours.revocations.write_bytes(authority.revocations.read_bytes())
        assert list(courier.bring()) == ["far"]
        assert service.revocations is not None
        assert Revocations(service.revocations, service.authority).current.number == 2
        away = False
        assert courier.bring() == {}
        assert far == [authority.revocations.read_bytes()]


def test_revoking_twice_and_revoking_what_never_was(authority: Authority) -> None:
    authority.issue(OTHER)
    (serial,) = authority.revoke(OTHER)
    assert authority.revoke(OTHER) == []
    with pytest.raises(UnknownCertificateError):
        authority.revoke(SLAVE)
    with pytest.raises(UnknownCertificateError):
        authority.revoke(OTHER, serial=serial + 1)
    assert [one.is_revoked for one in authority.issued()] == [True]


def test_sessions_cannot_be_resumed(service: Credentials, ours: Credentials) -> None:
    """Who resumes one is not asked for his certificate again."""
    with serving(service) as url, open_client(url, credentials=ours, peer=SLAVE) as http:
        http.get("/who")
    context = tls_context(service, server=True)
    assert context.num_tickets == 0
    assert context.verify_flags & ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def test_who_goes_without_the_newest_list_is_told_of_until_it_has_it(
    authority: Authority, ours: Credentials
) -> None:
    clock, told = FakeClock(), queue.Queue[tuple[str, str | None]]()
    is_closed = True

    def give(_pem: bytes) -> ListView:
        if is_closed:
            raise RevocationListError("The list cannot be written to /etc/x.")
        return ListView(number=1, revoked=0)

    def hear(name: str, why: str | None) -> bool:
        told.put((name, why))
        return True

    def next_told() -> tuple[str, str | None]:
        for _ in range(2000):
            clock.advance(1)
            with suppress(queue.Empty):
                return told.get(timeout=0.01)
        raise AssertionError("nothing was told")

    courier = RevocationCourier(ours, {"dc-1": give}, tell=hear, clock=clock, grace_s=30)
    courier.start()
    try:
        assert next_told() == (OURS, None)
        name, why = next_told()
        assert name == "dc-1"
        assert "/etc/x" in (why or "")
        assert clock.monotonic() >= 30
        is_closed = False
        assert next_told() == ("dc-1", None)
        assert ours.revocations is not None
        ours.revocations.write_bytes(b"-----BEGIN X509 CRL-----")  # copied half, or by a bad hand
        name, why = next_told()
        assert name == OURS
        assert str(ours.revocations) in (why or "")
        ours.revocations.write_bytes(authority.revocations.read_bytes())
        assert next_told() == (OURS, None)
    finally:
        clock.advance(1000)
        courier.close()


def test_a_service_that_lost_its_list_gets_it_again(
    authority: Authority, client: Client, service: Credentials, ours: Credentials
) -> None:
    """It began with the one of its certificate; the courier had brought the newest before."""
    assert service.revocations is not None
    assert ours.revocations is not None
    first = service.revocations.read_bytes()
    authority.issue(OTHER)
    authority.revoke(OTHER)
    ours.revocations.write_bytes(authority.revocations.read_bytes())
    clock = FakeClock()
    with client(ours) as http:
        courier = RevocationCourier(ours, {"near": lambda pem: send_list(http, pem)}, clock=clock)
        assert courier.bring() == {}
        service.revocations.write_bytes(first)
        clock.advance(3600)
        assert courier.bring() == {}
    assert Revocations(service.revocations, service.authority).current.number == 2


def test_a_damaged_list_lets_nobody_back_in_and_is_replaced_by_the_next(
    authority: Authority, client: Client, service: Credentials, ours: Credentials, tmp_path: Path
) -> None:
    bad = authority.issue(OTHER, into=tmp_path / "bad")
    assert service.revocations is not None
    with client(ours) as good, client(bad) as standing:
        assert standing.get("/who").is_success
        authority.revoke(OTHER)
        deliver(authority, good)
        assert standing.get("/who").status_code == 403
        service.revocations.write_bytes(b"half")
        assert standing.get("/who").status_code == 403
        assert good.get("/who").is_success
        deliver(authority, good)
    assert Revocations(service.revocations, service.authority).current.number == 2


def test_a_certificate_that_is_on_no_record_is_revoked_by_its_file_or_serial(
    authority: Authority, client: Client, ours: Credentials, tmp_path: Path
) -> None:
    bad, worse = (authority.issue(OTHER, into=tmp_path / name) for name in ("bad", "worse"))
    for file in (authority.folder / "issued").iterdir():
        file.unlink()
    stranger = Authority.create(tmp_path / "stranger").issue(OTHER)
    for no_certificate in (stranger.certificate, bad.key):
        with pytest.raises(UnknownCertificateError):
            authority.revoke_certificate(no_certificate.read_bytes())
    runner, folder = CliRunner(), str(authority.folder)
    by_file = runner.invoke(pki, ["revoke", folder, "--certificate", str(bad.certificate)])
    serial = x509.load_pem_x509_certificate(worse.certificate.read_bytes()).serial_number
    by_serial = runner.invoke(pki, ["revoke", folder, "--serial", f"{serial:x}"])
    assert (by_file.exit_code, by_serial.exit_code) == (0, 0)
    assert f"{serial:x}" in by_serial.output
    with client(ours) as good:
        deliver(authority, good)
        for credentials in (bad, worse):
            with client(credentials) as http, pytest.raises(httpx.TransportError):
                http.get("/who")


@pytest.mark.parametrize("words", [[], ["slave"], ["slave", "dc-1", "--certificate", "x"]])
def test_what_is_to_be_revoked_must_be_clear(authority: Authority, words: list[str]) -> None:
    before = authority.revocations.read_bytes()
    assert CliRunner().invoke(pki, ["revoke", str(authority.folder), *words]).exit_code != 0
    assert authority.revocations.read_bytes() == before


def test_a_lost_list_is_not_begun_anew(authority: Authority, service: Credentials) -> None:
    """An empty list with number 1 would let back in whoever was revoked, at the next service."""
    authority.issue(OTHER)
    authority.revoke(OTHER)
    newest = authority.revocations.read_bytes()
    authority.revocations.unlink()
    with pytest.raises(CredentialsError, match="is gone"):
        Authority(authority.folder)
    assert not authority.revocations.exists()
    authority.revocations.write_bytes(newest)  # from a service, as the message says
    found = {one.identity: one.is_revoked for one in Authority(authority.folder).issued()}
    assert found == {SLAVE: False, OTHER: True}


def test_another_list_of_the_same_number_is_refused(
    authority: Authority, client: Client, ours: Credentials
) -> None:
    """The authority's folder was set back: what was revoked since would be forgotten."""
    before = authority.revocations.read_bytes()
    authority.issue(OTHER)
    authority.revoke(OTHER)
    with client(ours) as http:
        deliver(authority, http)
        authority.revocations.write_bytes(before)
        authority.revoke_serial(4711)
        with pytest.raises(RevocationListError, match="other certificates"):
            deliver(authority, http)


def test_who_asked_earlier_does_not_bring_back_an_older_context(ours: Credentials) -> None:
    """Two threads at the moment of a change: what the slower one saw is over."""
    old, new = (tls_context(ours, server=False) for _ in range(2))
    has_old, go_on = threading.Event(), threading.Event()

    class Changing:
        @property
        def current(self) -> ssl.SSLContext:
            if threading.current_thread() is slower:
                has_old.set()
                go_on.wait(10)
                return old
            return new

    transport = _NamedPeer(ours, SLAVE)
    transport._live = cast(LiveContext, Changing())
    slower = threading.Thread(target=transport._transport)
    quicker = threading.Thread(target=transport._transport)
    slower.start()
    assert has_old.wait(10)
    quicker.start()
    quicker.join(0.1)  # it is done, or waits for the slower one
    go_on.set()
    slower.join(10)
    quicker.join(10)
    assert transport._context is new
    transport.close()


def test_a_neighbour_of_a_neighbour_without_the_list_is_named_until_it_has_it(
    authority: Authority, service: Credentials, ours: Credentials
) -> None:
    """A Bob's agent is reached by its slave stack alone; the orchestrator tells of it."""
    bob_is_closed = True

    def give_to_bob(_pem: bytes) -> ListView:
        if bob_is_closed:
            raise RevocationListError("It cannot be written.")
        return ListView(number=2, revoked=1)

    stack = RevocationCourier(service, {"bob-1": give_to_bob})
    with serving(service, stack) as url, open_client(url, credentials=ours, peer=SLAVE) as http:
        courier = RevocationCourier(ours, {"dc-1": lambda pem: send_list(http, pem)})
        authority.issue(OTHER)
        authority.revoke(OTHER)
        assert ours.revocations is not None
        ours.revocations.write_bytes(authority.revocations.read_bytes())
        assert courier.bring() == {"bob-1 behind dc-1": "it was not brought yet"}
        assert list(stack.bring()) == ["bob-1"]
        assert list(courier.bring()) == ["bob-1 behind dc-1"]
        bob_is_closed = False
        assert stack.bring() == {}
        assert courier.bring() == {}
