"""`sftp` with aes256-gcm@openssh.com against an sshd of our own: own keys, own port, loopback."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.transfer.measure import Cost

CIPHER: Final = "aes256-gcm@openssh.com"
_PRIVILEGE_SEPARATION: Final = Path("/run/sshd")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class SftpMissing(Exception):
    """Why `sftp` cannot be measured here."""


class Sftp:
    """Copies files through one running sshd and tells what it cost."""

    def __init__(self, folder: Path, server: subprocess.Popen[bytes], port: int) -> None:
        self._server = server
        # One cipher for both ends, no compression, nothing of the user's own configuration.
        options = ["-q", "-F", "none", "-P", str(port)]
        for option in (
            f"Ciphers={CIPHER}",
            "Compression=no",
            "StrictHostKeyChecking=no",
            f"UserKnownHostsFile={folder / 'known_hosts'}",
            f"IdentityFile={folder / 'user'}",
            "IdentitiesOnly=yes",
        ):
            options += ["-o", option]
        self._account = f"{getpass.getuser()}@127.0.0.1"
        self._command = ["sftp", *options, "-b", "-", self._account]
        self._scp = ["scp", *options]

    def scp(self, source: Path, target: Path) -> None:
        """Copy by `scp`, as a person does by hand. Raises `SftpMissing`."""
        done = subprocess.run(
            [*self._scp, str(source), f"{self._account}:{target}"], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise SftpMissing(f"scp failed: {done.stderr.strip()[-200:]}")

    def copy(self, source: Path, target: Path) -> Cost:
        """Put `source` to `target`, session set-up included. Raises `SftpMissing`."""
        server_before_s = self._server_cpu_s()
        client_before = os.times()
        start_s = time.monotonic()
        done = subprocess.run(
            self._command, input=f"put {source} {target}\n".encode(), capture_output=True
        )
        end_s = time.monotonic()
        if done.returncode != 0:
            why = done.stderr.decode(errors="replace").strip().splitlines()
            raise SftpMissing(f"sftp failed: {why[-1] if why else done.returncode}")
        client_after = os.times()
        self._wait_for(self._has_no_session)
        client_s = (
            client_after.children_user
            + client_after.children_system
            - client_before.children_user
            - client_before.children_system
        )
        return Cost(end_s - start_s, client_s + self._server_cpu_s() - server_before_s)

    def _server_cpu_s(self) -> float:
        """CPU seconds of the server and of its sessions that ended."""
        fields = Path(f"/proc/{self._server.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS_PER_S

    def _has_no_session(self) -> bool:
        pid = self._server.pid
        return not Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()

    def _wait_for(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise SftpMissing("a session of sshd did not end")
            time.sleep(0.01)


@contextlib.contextmanager
def running_sftp(folder: Path) -> Iterator[Sftp]:
    """An sshd of our own for the time of the block. Raises `SftpMissing` with the reason."""
    for program in ("sshd", "sftp", "ssh-keygen"):
        if _find(program) is None:
            raise SftpMissing(f"{program} is not installed")
    with contextlib.suppress(OSError):
        # What Debian's start script does for a service; without it no sshd starts.
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
        )
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    port = _free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
        f"PermitRootLogin prohibit-password\nPasswordAuthentication no\nCiphers {CIPHER}\n"
        f"Compression no\nSubsystem sftp internal-sftp\n"
    )
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen(
            [str(_find("sshd")), "-D", "-e", "-f", config], stdout=log, stderr=log
        )
    try:
        _wait_until_listening(server, port, folder / "sshd.log")
        yield Sftp(folder, server, port)
    finally:
        server.terminate()
        server.wait(timeout=10)


def _find(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_listening(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if server.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise SftpMissing(f"sshd does not start: {lines[-1] if lines else 'no reason given'}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise SftpMissing("sshd does not listen")
