"""The configuration bundle: the same bytes each time, a program that waits, 64 KiB of content."""

from __future__ import annotations

import json
import platform
import subprocess
import tarfile
from pathlib import Path

import pytest

from emulators.lab.configuration_bundle import CONFIGURATION_BYTES, build, waiting_program
from emulators.lab.web_vnf import static_elf_architecture


def test_the_same_bundle_twice(tmp_path: Path) -> None:
    first, second = tmp_path / "a.tar", tmp_path / "b.tar"
    assert build(first) == build(second)
    assert first.read_bytes() == second.read_bytes()
    assert build(tmp_path / "c.tar", seed="other") != build(first)


def test_it_holds_64_kib_of_configuration(tmp_path: Path) -> None:
    build(tmp_path / "bundle.tar")
    with tarfile.open(tmp_path / "bundle.tar") as archive:
        (entry,) = json.loads(archive.extractfile("manifest.json").read())
        with tarfile.open(fileobj=archive.extractfile(entry["Layers"][0])) as layer:
            assert layer.getmember("configuration.json").size == CONFIGURATION_BYTES


def test_its_program_is_static(tmp_path: Path) -> None:
    assert static_elf_architecture(waiting_program()) == "amd64"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="an x86-64 program")
def test_its_program_waits(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(waiting_program())
    program.chmod(0o755)
    process = subprocess.Popen([str(program)])
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
    finally:
        process.kill()
        process.wait(10)
