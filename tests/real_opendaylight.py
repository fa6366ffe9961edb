"""A real OpenDaylight for a whole test session; it takes half a minute to boot."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_port

from emulators.lab.errors import ControllerNotBuiltError
from emulators.lab.opendaylight import READY_S, InstanceSettings, build, is_ready
from trust import Authority, Credentials, Identity, Role

CONTROLLER = Identity(Role.CONTROLLER, "opendaylight")


@dataclass(frozen=True)
class RealOpenDaylight:
    """Where it is, and with what our driver enters."""

    settings: InstanceSettings
    ours: Credentials
    base: Path
    pid: int
    agent: Credentials
    """What an optical agent shows where OpenFlow is under TLS."""

    @property
    def url(self) -> str:
        return "https://{}:{}".format(*self.settings.restconf)

    @property
    def openflow_port(self) -> int:
        return self.settings.openflow[1]

    def driver_options(self, **changes: Any) -> dict[str, Any]:
        return {
            "url": self.url,
            "username": self.settings.username,
            "password_file": self.settings.password_file,
            "ca_file": self.ours.authority,
            "certificate_file": self.ours.certificate,
            "key_file": self.ours.key,
            "server_name": CONTROLLER.dns_name,
            "poll_interval_s": 0.1,
        } | changes


def why_missing() -> str | None:
    """Why there can be no OpenDaylight here, or None."""
    root_on_debian = os.geteuid() == 0 and shutil.which("apt-get")
    if not root_on_debian and not (shutil.which("java") and shutil.which("mvn")):
        return "install Debian's openjdk-17-jre-headless and maven"
    try:
        build()
    except ControllerNotBuiltError as error:
        return str(error)
    return None


@contextlib.contextmanager
def running(base: Path, *, openflow_tls: bool = False) -> Iterator[RealOpenDaylight]:
    """One instance on free ports; ends with a SIGTERM that it must obey."""
    authority = Authority.create(base / "pki")
    theirs = authority.issue(CONTROLLER, addresses=("127.0.0.1",))
    ours = authority.issue(Identity(Role.ORCHESTRATOR, "orchestrator"))
    agent = authority.issue(Identity(Role.OPTICAL_AGENT, "polatis-1"))
    password = base / "password"
    password.write_text(secrets.token_urlsafe(18) + "\n")
    settings = InstanceSettings(
        ("127.0.0.1", free_port()),
        ("127.0.0.1", free_port()),
        "circuits",
        password,
        ours,
        openflow_tls=openflow_tls,
    )
    command = [sys.executable, "-m", "emulators.lab.opendaylight"]
    command += ["--state-dir", str(base / "instance"), "--username", settings.username]
    command += ["--password-file", str(password)]
    for flag, (host, port) in (("restconf", settings.restconf), ("openflow", settings.openflow)):
        command += [f"--{flag}", f"{host}:{port}"]
    for flag in ("certificate", "key", "authority"):
        command += [f"--{flag}", str(getattr(theirs, flag))]
    command += ["--openflow-tls"] if openflow_tls else []
    with (base / "out.log").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        deadline_s = time.monotonic() + READY_S
        while not is_ready(settings):
            if process.poll() is not None or time.monotonic() > deadline_s:
                pytest.fail(f"OpenDaylight did not start: {(base / 'out.log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield RealOpenDaylight(settings, ours, base / "instance", process.pid, agent)
        process.terminate()
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
