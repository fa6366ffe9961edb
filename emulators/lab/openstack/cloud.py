"""One cloud: prepared, started, watched, ended."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import IO

from emulators.lab.errors import LabRunningError, ProcessFailedError
from emulators.lab.openstack import ready, tenants
from emulators.lab.openstack.configuration import Configuration
from emulators.lab.openstack.distribution import Distribution
from emulators.lab.openstack.layout import REGION, CloudLayout, write_secret
from emulators.lab.openstack.services import Services
from emulators.lab.openstack.template import template_databases
from emulators.lab.processes import LabProcess, ProcessSpec

_START_TIMEOUT_S = 180.0
_STOP_GRACE_S = 10.0
_LOOK_EVERY_S = 1.0
_BOOTSTRAP_TIMEOUT_S = 120.0
_LIBVIRTD = "libvirtd"
_BACKING = ("mariadb", "epmd", "rabbitmq")
"""Ended last: the others say goodbye to them."""


class Cloud:
    """All processes of one state folder; they die with the process that called `start`."""

    def __init__(self, layout: CloudLayout, distribution: Distribution) -> None:
        self.layout = layout
        self._distribution = distribution
        self._services = Services(layout, distribution)
        self.processes: dict[str, LabProcess] = {}
        self._lock: IO[str] | None = None

    def start(self) -> None:
        """Until it is ready. Raises LabError; whoever calls it stops what was started."""
        self._refuse_second()
        self._prepare()
        for group in self._services.backing():
            for process in self._launch(group):
                process.wait_ready(_START_TIMEOUT_S)
        interfaces = self._launch(self._services.interfaces())
        self._bootstrap()
        for process in interfaces:
            process.wait_ready(_START_TIMEOUT_S)
        with tenants.connect(self.layout) as admin:
            tenants.make_identities(self.layout, admin)
        workers = self._launch(self._services.workers())
        with tenants.connect(self.layout) as admin:  # its token knows the new end points
            tenants.make_flavors(admin)
        for process in workers:
            process.wait_ready(_START_TIMEOUT_S)
        self._await_ready()

    def dead(self) -> str | None:
        """The name of a process that ended by itself, or None."""
        return next((name for name, p in self.processes.items() if p.pid is None), None)

    def stop(self) -> None:
        """End every process, those that need others first."""
        _end([p for name, p in self.processes.items() if name not in {*_BACKING, _LIBVIRTD}])
        if _LIBVIRTD in self.processes:  # its guests and its process ids go with it
            self.processes[_LIBVIRTD].kill()
            self.processes[_LIBVIRTD].forget()
        _end([p for name, p in self.processes.items() if name in _BACKING])
        self.processes.clear()

    def restart(self, name: str) -> None:
        """Start a process again that was killed, as a test does."""
        process = self.processes[name]
        process.start()
        process.wait_ready(_START_TIMEOUT_S)

    # --- inside -----------------------------------------------------------------------------------

    def _refuse_second(self) -> None:
        """One launcher a folder. The processes of one that was killed have died with it."""
        folder = self.layout.folder
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LabRunningError(
                f"A cloud runs from {folder} already.",
                next_step="End it with SIGTERM to its launcher, or use another --state-dir.",
            ) from error
        for left in (folder / "run").glob("*.pid"):
            left.unlink()

    def _prepare(self) -> None:
        data = self.layout.data("mariadb")
        if not data.exists():
            data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = data.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(template_databases(self._distribution), draft)
            draft.replace(data)
        Configuration(self.layout, self._distribution, host=self._host()).write()

    def _host(self) -> str:
        """A new name at every start: Nova's fake hypervisor forgets its guests, so its host must
        not be mistaken for the one that had them. The other one keeps its name and its guests'
        disks."""
        if self.layout.hypervisor == "qemu":
            return "compute-1"
        file = self.layout.folder / "starts"
        number = int(file.read_text()) + 1 if file.exists() else 1
        write_secret(file, str(number))
        shutil.rmtree(self.layout.data("nova"), ignore_errors=True)
        return f"compute-{number}"

    def _launch(self, specs: list[ProcessSpec]) -> list[LabProcess]:
        processes = [LabProcess(spec, self.layout.folder) for spec in specs]
        for process in processes:
            process.start()
            self.processes[process.spec.name] = process
        return processes

    def _bootstrap(self) -> None:
        """Keystone's first user; needs only its database."""
        url = self.layout.url("keystone")
        command = [self._distribution.program("keystone-manage")]
        command += ["--config-file", str(self.layout.etc("keystone") / "keystone.conf")]
        command += ["bootstrap", "--bootstrap-region-id", REGION]
        for interface in ("public", "internal", "admin"):
            command += [f"--bootstrap-{interface}-url", url]
        # The password is not on the command line, which everybody can read.
        secret = {"OS_BOOTSTRAP_PASSWORD": self.layout.password("admin")}
        done = subprocess.run(
            command,
            env={**os.environ, **secret},
            capture_output=True,
            text=True,
            timeout=_BOOTSTRAP_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise ProcessFailedError(
                f"keystone-manage bootstrap failed: {done.stderr[-1500:].strip()}",
                next_step=f"Read {self._log('keystone')} and {self._log('mariadb')}.",
            )

    def _log(self, name: str) -> Path:
        return self.layout.folder / "logs" / f"{name}.log"

    def _await_ready(self) -> None:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while (why := ready.why_not_ready(self.layout)) is not None:
            dead = self.dead()
            if dead is not None or time.monotonic() > deadline_s:
                named = dead or "nova-compute"
                tail = self.processes[named].log_tail()
                raise ProcessFailedError(
                    f"The cloud is not ready: {why}. The end of {named}'s log:\n{tail}",
                    next_step=f"Read the logs in {self._log(named).parent}.",
                )
            time.sleep(_LOOK_EVERY_S)


def _end(processes: list[LabProcess]) -> None:
    for process in reversed(processes):
        process.terminate()
    for process in reversed(processes):
        process.await_end(_STOP_GRACE_S)
