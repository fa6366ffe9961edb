"""Real servers of jobboards other than Redis, for tests: on loopback, in folders of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from free_ports import free_port

_START_S = 60.0
_ZOOKEEPER = Path("/usr/share/zookeeper/bin/zkServer.sh")


def why_missing(kind: str) -> str:
    """Why there is no such server to start; empty if there is one."""
    if kind == "etcd":
        return "" if shutil.which("etcd") else "install Debian's etcd-server"
    return "" if _ZOOKEEPER.exists() else "install Debian's zookeeper"


@contextlib.contextmanager
def etcd(folder: Path) -> Iterator[dict[str, object]]:
    """The options of its jobboard, but for the path on it."""
    port, peers = free_port(), free_port()
    client_url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
    command = [
        *("etcd", "--data-dir", str(folder / "data")),
        *("--listen-client-urls", client_url, "--advertise-client-urls", client_url),
        *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
        *("--initial-cluster", f"default={peer_url}"),
    ]
    with _running(command, folder, port):
        yield {"host": "127.0.0.1", "port": port}


@contextlib.contextmanager
def zookeeper(folder: Path) -> Iterator[dict[str, object]]:
    """The options of its jobboard, but for the path on it."""
    port = free_port()
    settings = folder / "zoo.cfg"
    settings.write_text(
        f"tickTime=500\ndataDir={folder / 'data'}\nclientPort={port}\n"
        "clientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
    )
    with _running([str(_ZOOKEEPER), "start-foreground", str(settings)], folder, port):
        yield {"hosts": f"127.0.0.1:{port}"}


@contextlib.contextmanager
def _running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "ZOO_LOG_DIR": str(folder)},
        )
    try:
        deadline = time.monotonic() + _START_S
        while not _listens(port):
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, f"{command[0]} did not start"
            time.sleep(0.05)  # a poll of another process, bounded by the deadline
        yield
    finally:
        process.kill()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
