"""The demo's VNF: a web server in a container image, written without a container engine.

The image is a docker-save archive in pure Python: one layer with a static busybox and one page,
deterministic to the byte, so that its id is known before any engine has seen it. It runs as
nobody, without capabilities, on a read-only root.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from nfv_stack.contract import normal_archive
from problem_details import ProblemError

PORT = 8080
"""TCP port on which the VNF serves its page."""
PAGE_TITLE = "qnfv demonstration VNF"

_NOBODY = "65534:65534"
_PT_INTERP = 3
# e_machine of the ELF specification -> architecture as image configs spell it.
_ARCHITECTURES = {3: "386", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64",
                  243: "riscv64", 258: "loong64"}  # fmt: skip
_APT_TIMEOUT_S = 300
_PACKAGE = "busybox-static"
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{PAGE_TITLE}</title>
<style>
body {{ font: 1.1rem/1.6 system-ui, sans-serif; margin: 4rem auto; max-width: 38rem;
       padding: 0 1rem; color: #1b2a3a; background: #f6f8fb; }}
h1 {{ font-size: 1.6rem; color: #0b5c8a; }}
footer {{ margin-top: 3rem; font-size: .85rem; color: #5a6b7b; }}
</style>
</head>
<body>
<h1>{PAGE_TITLE}</h1>
<p>This page is served by a virtual network function. Its image left the trusted data centre
sealed under a quantum key, crossed an optical circuit that was set up for it, was verified here
chunk by chunk, and only then started.</p>
<p>It is a small web server in a container: no capabilities, no root, nothing to write to.</p>
<footer>qnfv: secure NFV orchestration over an optical network with time-shared QKD</footer>
</body>
</html>
"""


class WebVnfError(ProblemError):
    """The demo's VNF image cannot be built."""

    slug = "demo-image"
    title = "The demonstration's image cannot be built"


class NoStaticBusyboxError(WebVnfError):
    """There is no statically linked busybox, and none could be fetched."""

    slug = "no-static-busybox"
    title = "There is no static busybox"


def build(target: Path, *, busybox: Path) -> str:
    """Write the VNF's docker-save archive to `target`; returns its image id (`sha256:...`).

    The same busybox gives the same bytes, always. Raises WebVnfError if `busybox` is not a
    statically linked program for Linux.
    """
    program = busybox.read_bytes()
    architecture = static_elf_architecture(program)
    if architecture is None:
        raise WebVnfError(
            f"{busybox} is no statically linked program, so it cannot run alone in an image.",
            next_step=f"Install the Debian package {_PACKAGE}, or give another busybox.",
        )
    image_id, content = normal_archive.build(_config(architecture), [_layer(program)])
    draft = target.with_name(target.name + ".part")
    try:
        draft.write_bytes(content)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return image_id


def find_static_busybox(cache_dir: Path) -> Path:
    """A statically linked busybox: of PATH, of `cache_dir`, or fetched there from Debian.

    Fetching needs apt, not root. Raises NoStaticBusyboxError with what to install.
    """
    cached = cache_dir / "busybox"
    for candidate in (*_in_path(), cached):
        if _is_static(candidate):
            return candidate
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise _none_found("this system has no apt to fetch it with")
    cache_dir.mkdir(parents=True, exist_ok=True)
    _fetch(cache_dir, cached)
    if not _is_static(cached):
        raise _none_found(f"the package {_PACKAGE} brought a busybox that is not static")
    return cached


def static_elf_architecture(program: bytes) -> str | None:
    """The architecture of a static ELF program, None if it is anything else.

    Static means that no program header asks for an interpreter (PT_INTERP).
    """
    if program[:4] != b"\x7fELF" or len(program) < 64:
        return None
    wide, order = program[4] == 2, "<" if program[5] == 1 else ">"
    (machine,) = struct.unpack_from(f"{order}H", program, 18)
    (offset,) = struct.unpack_from(
        f"{order}Q" if wide else f"{order}I", program, 32 if wide else 28
    )
    size, count = struct.unpack_from(f"{order}HH", program, 54 if wide else 42)
    if size < 4 or not count or offset + size * count > len(program):
        return None
    for index in range(count):
        (kind,) = struct.unpack_from(f"{order}I", program, offset + index * size)
        if kind == _PT_INTERP:
            return None
    return _ARCHITECTURES.get(machine)


def _in_path() -> list[Path]:
    found = [shutil.which(name) for name in ("busybox-static", "busybox")]
    return [Path(path) for path in found if path]


def _is_static(program: Path) -> bool:
    try:
        return static_elf_architecture(program.read_bytes()) is not None
    except (OSError, struct.error):
        return False


def _fetch(cache_dir: Path, cached: Path) -> None:
    """Download and unpack Debian's package; its lists are refreshed once if that needs root."""
    tried = _apt(["download", _PACKAGE], cache_dir)
    if tried.returncode and os.geteuid() == 0:
        _apt(["update"], cache_dir)
        tried = _apt(["download", _PACKAGE], cache_dir)
    packages = sorted(cache_dir.glob(f"{_PACKAGE}_*.deb"))
    if tried.returncode or not packages:
        last_line = tried.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise _none_found(f"apt could not download it ({last_line[0]})")
    unpacked = cache_dir / "unpacked"
    try:
        subprocess.run(
            ["dpkg-deb", "-x", str(packages[-1]), str(unpacked)],
            check=True,
            capture_output=True,
            timeout=_APT_TIMEOUT_S,
        )
        program = next((p for p in unpacked.glob("**/bin/busybox") if p.is_file()), None)
        if program is not None:
            program.replace(cached)
    except (OSError, subprocess.SubprocessError) as error:
        raise _none_found(f"its package could not be unpacked ({error})") from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
        for package in packages:
            package.unlink(missing_ok=True)


def _apt(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["apt-get", "-q", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_APT_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _none_found(f"apt-get did not end well ({error})") from error


def _none_found(why: str) -> NoStaticBusyboxError:
    return NoStaticBusyboxError(
        f"The demonstration's image needs a statically linked busybox, and {why}.",
        next_step=f"Install one, for example with `apt-get install {_PACKAGE}`, and try again.",
    )


def _layer(busybox: bytes) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as layer:
        for folder, mode in (("bin", 0o755), ("tmp", 0o1777), ("www", 0o755)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, mode
            layer.addfile(info)
        _add(layer, "bin/busybox", busybox, mode=0o755)
        _add(layer, "www/index.html", _PAGE.encode())
    return content.getvalue()


def _config(architecture: str) -> dict[str, Any]:
    """An image config as the Docker image specification v1.2 has it; times in nanoseconds."""
    second = 1_000_000_000
    return {
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": _NOBODY,
            "ExposedPorts": {f"{PORT}/tcp": {}},
            "Env": ["PATH=/bin"],
            "WorkingDir": "/",
            "Cmd": ["/bin/busybox", "httpd", "-f", "-p", str(PORT), "-h", "/www"],
            # The first process of a container ignores signals that it does not handle.
            "StopSignal": "SIGKILL",
            "Healthcheck": {
                # No -T: the static busybox of Debian 12 crashes with it when nobody answers.
                "Test": ["CMD", "/bin/busybox", "wget", "-q", "-O", "/dev/null",
                         f"http://127.0.0.1:{PORT}/"],
                "Interval": 10 * second,
                "Timeout": 5 * second,
                "Retries": 3,
            },
            "Labels": {
                "org.opencontainers.image.title": PAGE_TITLE,
                "qnfv.read-only-root": "true",
            },
        },
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "qnfv: web VNF"}],
    }  # fmt: skip


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    archive.addfile(info, io.BytesIO(content))
