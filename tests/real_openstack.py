"""A real OpenStack for a whole test session; it takes most of a minute to start.

With QNFV_TEST_OPENSTACK=DIR (or QNFV_TEST_OPENSTACK_VM) the cloud that runs from this state folder
is used instead, so that a person who works on the driver need not wait for one each time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import pytest
from openstack.connection import Connection

from emulators.lab.errors import LabError
from emulators.lab.openstack import CloudLayout, Hypervisor, build, is_ready, tenants

START_TIMEOUT_S = 400.0
STOP_TIMEOUT_S = 60.0
_GIVEN = {"fake": "QNFV_TEST_OPENSTACK", "qemu": "QNFV_TEST_OPENSTACK_VM"}


@dataclass(frozen=True)
class RealOpenStack:
    """Where it is, and who may look into it."""

    layout: CloudLayout

    def driver_options(self, name: str, folder: Path, **changes: Any) -> dict[str, Any]:
        return {
            "data_centre": name,
            "folder": folder,
            "cloud": "qnfv",
            "clouds_file": self.layout.clouds_file,
        } | changes

    @cached_property
    def tenant(self) -> Connection:
        return tenants.connect(self.layout, "qnfv")

    @cached_property
    def admin(self) -> Connection:
        return tenants.connect(self.layout)

    def images_of(self, data_centre: str) -> list[Any]:
        return list(self.tenant.image.images(tag=f"qnfv-{data_centre}"))

    def servers_of(self, data_centre: str) -> list[Any]:
        return [
            server
            for server in self.tenant.compute.servers(details=True)
            if server.metadata.get("qnfv_data_centre") == data_centre
        ]

    @contextlib.contextmanager
    def hanging(self, service: str) -> Iterator[None]:
        """This service accepts connections and says nothing."""
        pid = int((self.layout.folder / "run" / f"{service}.pid").read_text().split()[0])
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


def why_missing(hypervisor: Hypervisor) -> str | None:
    """Why there can be no OpenStack here, or None."""
    if os.environ.get(_GIVEN[hypervisor]):
        return None
    root_on_debian = os.geteuid() == 0 and shutil.which("apt-get")
    if not root_on_debian and not shutil.which("rabbitmq-server"):
        return "install Debian's mariadb-server and rabbitmq-server"
    if hypervisor == "qemu" and os.geteuid() != 0:
        return "libvirt in folders of its own needs root"
    try:
        build(hypervisor)
    except LabError as error:
        return str(error)
    return None


@contextlib.contextmanager
def running(base: Path, hypervisor: Hypervisor) -> Iterator[RealOpenStack]:
    """One cloud; ends with a SIGTERM that it must obey, and leaves no process."""
    if given := os.environ.get(_GIVEN[hypervisor]):
        yield RealOpenStack(CloudLayout(Path(given), hypervisor=hypervisor))
        return
    state = base / "cloud"
    command = [sys.executable, "-m", "emulators.lab.openstack", "--state-dir", str(state)]
    log = base / "out.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--hypervisor", hypervisor], stdout=out, stderr=out)
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while "Ready" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline_s:
                pytest.fail(f"OpenStack did not start: {log.read_text()[-3000:]}")
            time.sleep(0.5)
        cloud = RealOpenStack(CloudLayout(state, hypervisor=hypervisor))
        assert is_ready(cloud.layout)
        yield cloud
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(STOP_TIMEOUT_S) == 0, log.read_text()[-2000:]
        # Erlang's own children follow it in a moment.
        assert psutil.wait_procs(children, STOP_TIMEOUT_S)[1] == []
        assert not list((state / "run").glob("*.pid"))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
