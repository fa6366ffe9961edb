"""A new data centre gets its certificates: one command on each side, one token, once."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from nfv_stack.settings import SlaveSettings
from trust import Authority, Credentials, Identity, Role
from trust.contexts import LiveContext, tls_context
from trust.errors import JoinRefusedError, JoinTokenError
from trust.files import Owner
from trust.joining import JoinDesk, JoinToken, join, newcomer
from trust.joining.token import MAC_HEADER

SLAVE = Identity(Role.SLAVE, "dc-5")
BOB = Identity(Role.UNIT_AGENT, "bob-5")
USER = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
"""Only root gives files away."""
TERMS = {"data_centre": "dc-5", "link": "alice--bob-5"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "pki")


def desk_of(authority: Authority, *, valid_s: float = 60.0, port: int = 0) -> JoinDesk:
    return JoinDesk(
        authority,
        {SLAVE: ("gateway.example",), BOB: ()},
        address=f"127.0.0.1:{port or free_port()}",
        terms=TERMS,
        valid_s=valid_s,
    )


@contextmanager
def waiting(desk: JoinDesk) -> Iterator[list[bool]]:
    """The desk serves; at the end the list holds what `serve` said."""
    host, _, port = desk.token.address.rpartition(":")
    said: list[bool] = []
    thread = threading.Thread(target=lambda: said.append(desk.serve(host, int(port))))
    thread.start()
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                break
        threading.Event().wait(0.02)
    try:
        yield said
    finally:
        desk.has_joined.set()
        thread.join(20)


def test_a_newcomer_gets_certificates_for_keys_that_it_made_itself(
    authority: Authority, tmp_path: Path
) -> None:
    desk = desk_of(authority)
    with waiting(desk) as said:
        assert join(JoinToken.parse(desk.token.text), tmp_path / "new") == TERMS
        assert desk.has_joined.is_set()
    assert said == [True]
    for identity in (SLAVE, BOB):
        files = Credentials.in_folder(tmp_path / "new", identity)
        tls_context(files, server=True)
        assert files.key.stat().st_mode & 0o077 == 0
    assert not list(authority.folder.glob("dc-5*"))  # the key never was here
    issued = authority.issued()
    assert {one.identity for one in issued} == {SLAVE, BOB}
    assert next(one for one in issued if one.identity == SLAVE).addresses == ("gateway.example",)


def test_after_a_break_the_same_newcomer_asks_again_and_nobody_else(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_of(authority)
    token = JoinToken.parse(desk.token.text)

    def broken(*_: object) -> None:
        raise JoinRefusedError("the line broke")

    with waiting(desk):
        with monkeypatch.context() as patch:
            patch.setattr(newcomer, "_tell_received", broken)
            with pytest.raises(JoinRefusedError, match="the line broke"):
                join(token, tmp_path / "new")
        with pytest.raises(JoinRefusedError, match="other keys"):
            join(token, tmp_path / "thief")
        first = (tmp_path / "new" / "dc-5.slave.pem").read_bytes()
        join(token, tmp_path / "new")
        assert (tmp_path / "new" / "dc-5.slave.pem").read_bytes() == first
    assert len(authority.issued()) == 2
    assert not list((tmp_path / "thief").glob("*.pem"))


def test_a_token_that_is_over_is_of_no_use(authority: Authority, tmp_path: Path) -> None:
    desk = desk_of(authority, valid_s=-1.0)
    body = b'{"requests": {}}'
    with pytest.raises(JoinRefusedError, match="ended"):
        desk.sign(body, desk.token.mac("request", body))
    assert desk.serve("127.0.0.1", free_port()) is False
    assert authority.issued() == []


def test_who_lacks_the_secret_gets_nothing(authority: Authority, tmp_path: Path) -> None:
    desk, other = desk_of(authority), desk_of(authority)
    guess = JoinToken(
        desk.token.address,
        (SLAVE, BOB),
        authority.fingerprint,
        bytes(32),
        desk.token.expires_at,
    )
    with waiting(desk):
        with pytest.raises(JoinRefusedError, match="does not have the token"):
            join(guess, tmp_path / "thief")
        for body in (b"", b"{}", b"[" * 100, b"x" * 100_000):
            answer = httpx.post(f"http://{desk.token.address}/join", content=body)
            assert answer.status_code == 403
    body = json.dumps({"requests": {}}).encode()
    with pytest.raises(JoinRefusedError):
        desk.sign(body, other.token.mac("request", body))
    assert authority.issued() == []


@pytest.mark.parametrize("wanted", [(SLAVE,), (SLAVE, BOB, Identity(Role.ORCHESTRATOR, "central"))])
def test_nobody_gets_more_or_less_than_the_token_is_for(
    authority: Authority, tmp_path: Path, wanted: tuple[Identity, ...]
) -> None:
    desk = desk_of(authority)
    token = desk.token
    changed = JoinToken(
        token.address, wanted, token.authority, token._secret.get_secret_value(), token.expires_at
    )
    with waiting(desk), pytest.raises(JoinRefusedError, match="The token is for"):
        join(changed, tmp_path / "new")
    assert authority.issued() == []


def test_a_false_desk_is_not_believed(authority: Authority, tmp_path: Path) -> None:
    """It answers at the address, with an authority of its own; then it has the token as well."""
    true = desk_of(authority)
    false = desk_of(Authority.create(tmp_path / "false"), port=int(true.token.address[-5:]))
    with waiting(false), pytest.raises(JoinRefusedError, match="does not have the token"):
        join(true.token, tmp_path / "new")
    stolen = JoinToken(
        false.token.address,
        (SLAVE, BOB),
        authority.fingerprint,
        false.token._secret.get_secret_value(),
        false.token.expires_at,
    )
    false.has_joined.clear()
    with waiting(false), pytest.raises(JoinRefusedError, match="another authority"):
        join(stolen, tmp_path / "new")
    assert not list((tmp_path / "new").glob("*.pem"))


def test_the_secret_shows_nowhere(authority: Authority) -> None:
    token = desk_of(authority).token
    secret = token._secret.get_secret_value().hex()
    for text in (repr(token), str(token), repr(vars(token))):
        assert secret not in text
    with pytest.raises(JoinTokenError) as caught:
        JoinToken.parse(token.text[:-30])
    assert token.text[20:60] not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(max_size=80), st.booleans())
def test_no_text_breaks_the_parser(text: str, is_prefixed: bool) -> None:
    try:
        JoinToken.parse(f"qnfv-join-1.{text}" if is_prefixed else text)
    except JoinTokenError:
        return
    raise AssertionError("a token out of nothing")


def test_the_two_commands(authority: Authority, tmp_path: Path) -> None:
    """What people run; the orchestrator's settings then know the data centre."""
    settings = tmp_path / "orchestrator.toml"
    settings.write_text('name = "central"\n\n[[data_centres]]\nname = "dc-1"\n')
    port = free_port()
    qnfv = [sys.executable, "-m", "orchestrator.cli.main"]
    add = subprocess.Popen(
        [
            *qnfv, "dc", "add", "dc-5", "--authority", str(authority.folder),
            "--address", f"127.0.0.1:{port}", "--listen", "127.0.0.1",
            "--gateway-url", "https://dc-5.example:8443", "--link", "alice--bob-5",
            "--bob", "bob-5", "--bob-address", "192.0.2.5", "--settings", str(settings),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert add.stdout is not None
    token = add.stdout.readline()
    try:
        for _ in range(500):  # it prints the token before it listens
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            threading.Event().wait(0.02)
        joined = subprocess.run(
            [*qnfv, "stack", "join", "-", "--into", str(tmp_path / "dc"),
             "--state-dir", str(tmp_path / "state"), "--user", USER],
            input=token, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert joined.returncode == 0, joined.stderr
        assert add.wait(30) == 0, add.stderr and add.stderr.read()
    finally:
        add.kill()
        add.communicate()
    key = Credentials.in_folder(tmp_path / "dc", SLAVE).key.stat()
    assert (key.st_uid, key.st_mode & 0o777) == (Owner.named(USER).uid, 0o600)
    slave = SlaveSettings.load(tmp_path / "dc" / "slave.toml")
    assert slave.credentials.allowed_peers == ("orchestrator:central",)
    assert slave.links[0].source_options == {"address": "192.0.2.5"}
    LiveContext(slave.credentials, server=True)
    assert slave.credentials.revocations == tmp_path / "state" / "dc-5" / "revoked.pem"
    assert slave.credentials.revocations.exists()
    known = tomlkit.parse(settings.read_text()).unwrap()["data_centres"]
    assert [one["name"] for one in known] == ["dc-1", "dc-5"]
    assert known[1]["bob_address"] == "192.0.2.5"
    assert MAC_HEADER not in joined.stdout
