"""The demo's image: the same bytes each time, static programs only, one busybox or a clear word."""

from __future__ import annotations

import json
import struct
import sys
import tarfile
from pathlib import Path

import pytest

from emulators.lab import web_vnf
from nfv_stack.contract.schemas import ImageFormat
from nfv_stack.image_intake.archive_inspector import ArchiveInspector
from nfv_stack.vim.port import ImageSpec

PT_LOAD, PT_INTERP = 1, 3


def elf(*kinds: int, machine: int = 62, wide: bool = True) -> bytes:
    """The smallest ELF program with these program headers."""
    size = 56 if wide else 32
    start = 64
    head = bytearray(64)
    head[:6] = b"\x7fELF" + bytes([2 if wide else 1, 1])
    struct.pack_into("<H", head, 18, machine)
    struct.pack_into("<Q" if wide else "<I", head, 32 if wide else 28, start)
    struct.pack_into("<HH", head, 54 if wide else 42, size, len(kinds))
    return bytes(head) + b"".join(struct.pack("<I", kind).ljust(size, b"\0") for kind in kinds)


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    program = tmp_path / "busybox"
    program.write_bytes(elf(PT_LOAD, PT_LOAD))
    return program


def test_it_is_deterministic_and_in_the_form_that_travels(tmp_path: Path, busybox: Path) -> None:
    first, second = tmp_path / "a.tar", tmp_path / "b.tar"
    image_id = web_vnf.build(first, busybox=busybox)
    assert web_vnf.build(second, busybox=busybox) == image_id
    content = first.read_bytes()
    assert content == second.read_bytes()
    inspector = ArchiveInspector(
        ImageSpec(bytes(32), len(content), ImageFormat.DOCKER_ARCHIVE, image_id)
    )
    inspector.feed(memoryview(content))
    inspector.finish()


def test_what_the_engine_is_told(tmp_path: Path, busybox: Path) -> None:
    target = tmp_path / "a.tar"
    web_vnf.build(target, busybox=busybox)
    with tarfile.open(target) as archive:
        _, config, layer = archive.getmembers()
        document = json.loads(archive.extractfile(config).read())
        with tarfile.open(fileobj=archive.extractfile(layer)) as content:
            names = {info.name: info for info in content}
    inner = document["config"]
    assert inner["User"].startswith("65534")
    assert inner["ExposedPorts"] == {"8080/tcp": {}}
    assert inner["Labels"]["qnfv.read-only-root"] == "true"
    assert "-T" not in inner["Healthcheck"]["Test"]
    assert document["architecture"] == "amd64"
    assert names["bin/busybox"].mode == 0o755
    assert "www/index.html" in names


@pytest.mark.parametrize(
    ("program", "architecture"),
    [
        (elf(PT_LOAD), "amd64"),
        (elf(PT_LOAD, machine=183), "arm64"),
        (elf(PT_LOAD, machine=40, wide=False), "arm"),
        (elf(PT_LOAD, PT_INTERP), None),
        (elf(), None),
        (elf(PT_LOAD, machine=9999), None),
        (elf(PT_LOAD)[:80], None),
        (b"#!/bin/sh\n", None),
        (b"", None),
    ],
)
def test_only_static_programs_count(program: bytes, architecture: str | None) -> None:
    assert web_vnf.static_elf_architecture(program) == architecture


def test_this_python_is_linked_dynamically() -> None:
    """A real program, so that the check is not only right about our own invention."""
    interpreter = Path(sys.executable).resolve().read_bytes()
    assert web_vnf.static_elf_architecture(interpreter) is None


def test_a_dynamic_busybox_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "busybox"
    program.write_bytes(elf(PT_LOAD, PT_INTERP))
    with pytest.raises(web_vnf.WebVnfError, match="statically"):
        web_vnf.build(tmp_path / "a.tar", busybox=program)
    assert not (tmp_path / "a.tar").exists()


def test_the_cached_one_is_taken(tmp_path: Path, busybox: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert web_vnf.find_static_busybox(busybox.parent) == busybox


def test_without_any_it_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(web_vnf.NoStaticBusyboxError, match="no apt") as error:
        web_vnf.find_static_busybox(tmp_path / "cache")
    assert "busybox-static" in error.value.next_step


def test_a_package_source_that_fails_is_named(tmp_path: Path, monkeypatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in (
        ("apt-get", "#!/bin/sh\necho 'E: Unable to locate package' >&2; exit 100\n"),
        ("dpkg-deb", "#!/bin/sh\nexit 1\n"),
    ):
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(web_vnf.NoStaticBusyboxError, match="Unable to locate"):
        web_vnf.find_static_busybox(tmp_path / "cache")


def test_one_fetched_from_a_package_is_kept(tmp_path: Path, busybox: Path, monkeypatch) -> None:
    """With tools that do what apt and dpkg do, since no test depends on a package source."""
    tools = tmp_path / "tools"
    tools.mkdir()
    scripts = {
        "apt-get": "#!/bin/sh\n/bin/touch busybox-static_1_amd64.deb\n",
        "dpkg-deb": f'#!/bin/sh\n/bin/mkdir -p "$3/bin" && /bin/cp {busybox} "$3/bin/busybox"\n',
    }
    for name, script in scripts.items():
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    found = web_vnf.find_static_busybox(tmp_path / "cache")
    assert found.read_bytes() == busybox.read_bytes()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["busybox"]
