"""A service as docs/deploy.md installs it: it writes in its state directory and nowhere else."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import tomlkit
from cryptography import x509

from idq3p.unit_agent.client import UnitAgentClient
from trust import Authority, Identity, Role
from trust.errors import CredentialsError
from trust.files import Owner, write_whole

AGENT = Identity(Role.UNIT_AGENT, "bob-5")
ORCHESTRATOR = Identity(Role.ORCHESTRATOR, "central")
OTHER = Identity(Role.SLAVE, "dc-9")
USER = "nobody"

_SERVE = """
import os, pwd, sys
from pathlib import Path
from idq3p.unit_agent.app import serve
# What is imported late: the user may not be allowed to read where Python lies.
import encodings.idna, tomllib, uvicorn.lifespan.on, uvicorn.loops.auto
user = pwd.getpwnam(sys.argv[2])
os.setgroups([]); os.setgid(user.pw_gid); os.setuid(user.pw_uid)
serve(Path(sys.argv[1]))
"""

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")


@pytest.fixture
def host() -> Iterator[Path]:
    """Open to every user, which pytest's own folders are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "pki")


@as_root
def test_a_list_is_taken_by_a_service_that_cannot_write_its_settings_folder(
    authority: Authority, host: Path
) -> None:
    etc, state = host / "etc", host / "state"
    owner = Owner.named(USER)
    issued = authority.issue(AGENT, into=etc, owner=owner)
    state.mkdir(mode=0o700)
    os.chown(state, owner.uid, owner.gid)
    kept = state / "bob-5" / "revoked.pem"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = etc / "unit-agent.toml"
    settings.write_text(
        tomlkit.dumps(
            {
                "name": AGENT.name,
                "role": "bob",
                "emulated": True,
                "port": port,
                "credentials": replace(issued, revocations=kept).table,
                "state_dir": str(state / "bob-5"),
                "command": ["true"],
                "log_file": str(state / "bob-5" / "unit.log"),
                "idq3p_address": "127.0.0.1",
            }
        )
    )
    before = sorted(file.name for file in etc.iterdir())
    authority.issue(OTHER)
    authority.revoke(OTHER)
    ours = authority.issue(ORCHESTRATOR, into=authority.folder.parent / "ours")
    service = subprocess.Popen([sys.executable, "-c", _SERVE, str(settings), USER])
    try:
        with UnitAgentClient.open(AGENT.name, f"https://127.0.0.1:{port}", ours) as agent:
            _bring(agent, authority.revocations.read_bytes(), service)
    finally:
        service.terminate()
        service.wait(20)
    assert kept.stat().st_uid == owner.uid
    assert len(x509.load_pem_x509_crl(kept.read_bytes())) == 1
    assert sorted(file.name for file in etc.iterdir()) == before
    assert stat.S_IMODE(issued.key.stat().st_mode) == 0o600


def _bring(agent: UnitAgentClient, pem: bytes, service: subprocess.Popen[bytes]) -> None:
    """As soon as it listens."""
    end_s = time.monotonic() + 30
    while True:
        try:
            agent.take_revocations(pem)
        except httpx.ConnectError:
            assert service.poll() is None
            assert time.monotonic() < end_s
            time.sleep(0.05)
        else:
            return


@as_root
def test_a_key_stays_its_user_s_when_it_is_renewed(authority: Authority, host: Path) -> None:
    owner = Owner.named(USER)
    first = authority.issue(AGENT, into=host, owner=owner)
    assert (first.key.stat().st_uid, first.key.stat().st_gid) == (owner.uid, owner.gid)
    assert first.certificate.stat().st_uid == 0
    before = first.key.read_bytes()
    authority.renew(AGENT, into=host)
    assert first.key.read_bytes() != before
    assert (first.key.stat().st_uid, first.key.stat().st_gid) == (owner.uid, owner.gid)


@as_root
def test_a_file_that_is_written_anew_keeps_its_owner_and_mode(host: Path) -> None:
    file = host / "orchestrator.toml"
    file.write_text("before")
    file.chmod(0o640)
    user = pwd.getpwnam(USER)
    os.chown(file, 0, user.pw_gid)
    write_whole(file, b"after", mode=0o640)
    found = file.stat()
    assert file.read_text() == "after"
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, user.pw_gid, 0o640)


def test_a_user_that_is_not_there_is_named() -> None:
    with pytest.raises(CredentialsError, match="no user qnfv-nobody-has-this"):
        Owner.named("qnfv-nobody-has-this")
