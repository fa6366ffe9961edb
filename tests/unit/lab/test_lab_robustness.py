"""A laboratory that was broken off comes up again, and one that ends meanwhile goes down."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import tomlkit

from emulators.lab.lab import Lab
from emulators.lab.processes import LabProcess, ProcessSpec
from trust import Authority, Credentials, Identity, Role


class ShortLived(LabProcess):
    """A process that ends between being found and being told to end."""

    def _process(self) -> psutil.Process | None:
        process = super()._process()
        if process is not None and self._child is not None:
            self._child.kill()
            self._child.wait()
        return process


def test_a_process_that_ends_by_itself_while_it_is_ended_is_no_error(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", "import time; time.sleep(60)")
    process = ShortLived(ProcessSpec("short", argv, lambda: True), tmp_path)
    process.start()
    process.terminate()
    process.await_end()
    assert process.pid is None


def test_certificates_that_a_broken_off_start_left_out_are_made(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    Authority.create(lab.layout.pki)  # and then the power went
    lab.prepare()
    kept = lab.layout.pki / "authority.pem"
    before = kept.read_bytes()
    lab.prepare()
    for role, name in ((Role.ORCHESTRATOR, "central"), (Role.SLAVE, "dc-3")):
        files = Credentials.in_folder(lab.layout.pki, Identity(role, name))
        assert files.certificate.exists()
        assert files.key.exists()
    assert kept.read_bytes() == before


def test_each_bob_obeys_his_own_data_centre_alone(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.prepare()
    for bob in (1, 2, 3):
        settings = tomlkit.parse(lab.layout.settings(f"agent-bob-{bob}").read_text())
        assert settings["callers"] == [f"slave:dc-{bob}"]
