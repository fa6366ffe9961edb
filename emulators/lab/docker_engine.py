"""A Docker engine for the laboratory: a running one is used, or made where that is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

_START_S = 60.0
_INSTALL_S = 600.0


@dataclass(frozen=True)
class EngineFinding:
    """Whether an engine answers, and what to tell people about it."""

    answers: bool
    note: str


def find_engine(say: Callable[[str], None], *, may_install: bool = True) -> EngineFinding:
    """A running engine; else, as root on Debian or Ubuntu, an installed and started one."""
    version = _version()
    if version:
        return EngineFinding(True, f"Docker engine {version}")
    if not may_install or os.geteuid() != 0 or not _is_debian():
        return EngineFinding(
            False,
            "No Docker engine answers, and this user may not install one: the emulated VIM "
            "serves. For real containers install docker.io and start it.",
        )
    if shutil.which("dockerd") is None:
        say("No Docker engine here: installing docker.io (about a minute) ...")
        if not _install():
            return EngineFinding(
                False, "docker.io could not be installed (see above): the emulated VIM serves."
            )
    say("Starting the Docker engine ...")
    _start()
    version = _await_version()
    if version is None:
        return EngineFinding(
            False, "The Docker engine did not start (see dockerd's log): the emulated VIM serves."
        )
    return EngineFinding(True, f"Docker engine {version}, started for you; it keeps running")


def count_containers(label: str) -> int:
    """How many containers with this label run on the engine; 0 where none answers."""
    try:
        client = docker.from_env(timeout=10)
    except DockerException:
        return 0
    try:
        return len(client.containers.list(filters={"label": label}))
    except (DockerException, OSError):
        return 0
    finally:
        client.close()


def _version() -> str | None:
    try:
        client = docker.from_env(timeout=10)
    except DockerException:
        return None
    try:
        return str(client.version()["Version"])
    except (DockerException, OSError):
        return None
    finally:
        client.close()


def _is_debian() -> bool:
    release = Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    return ("ID=debian" in text or "ID=ubuntu" in text) and shutil.which("apt-get") is not None


def _install() -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "docker.io", "iptables"]
    for command in (["apt-get", "update", "-q"], install):
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_INSTALL_S,
            check=False,
        )
        if done.returncode != 0:
            print(done.stdout[-2000:], done.stderr[-2000:])
            return False
    return True


def _start() -> None:
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "start", "docker"], check=False, timeout=_START_S)
        return
    with Path("/var/log/dockerd.log").open("ab") as log:
        subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _await_version() -> str | None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        version = _version()
        if version:
            return version
        time.sleep(0.2)
    return None
