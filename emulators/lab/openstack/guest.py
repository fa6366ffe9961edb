"""A guest that boots anywhere, of a few MiB: Debian's cloud kernel, busybox, one script.

The disk has an MBR with one active FAT partition, from which syslinux starts the kernel. Its init
writes a marker and the uptime to the serial console, which the VIM shows as the console log.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from emulators.lab import web_vnf
from emulators.lab.errors import LabError

DISK_BYTES = 32 * 1024 * 1024
_SECTOR = 512
_FIRST_SECTOR = 2048
_MBR_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
_MBR_CODE_BYTES = 440
_FAT16_LBA = 0x0E
_KERNEL_PACKAGE = "linux-image-cloud-amd64"
_TIMEOUT_S = 300.0
_BOOT = "DEFAULT vnf\nLABEL vnf\n KERNEL vmlinuz\n INITRD init.gz\n APPEND console=ttyS0 quiet\n"
_MARKER = re.compile(r"[A-Za-z0-9 ._-]{1,64}")


class GuestNotBuiltError(LabError):
    slug = "lab-guest-not-built"
    title = "The guest's disk cannot be built"


def build_disk(target: Path, *, marker: str, cache: Path) -> None:
    """Write a raw disk whose guest says `marker`. Raises GuestNotBuiltError or WebVnfError.

    Needs syslinux and mtools; the kernel is fetched from Debian into `cache` once.
    """
    if not _MARKER.fullmatch(marker):
        raise GuestNotBuiltError(f"{marker!r} is no marker.", next_step="Use letters and digits.")
    cache.mkdir(parents=True, exist_ok=True)
    kernel = find_kernel(cache)
    busybox = web_vnf.find_static_busybox(cache)
    with tempfile.TemporaryDirectory() as work, target.open("wb") as disk:
        folder = Path(work)
        (folder / "vmlinuz").write_bytes(kernel.read_bytes())
        (folder / "init.gz").write_bytes(gzip.compress(_initramfs(busybox, marker), 6, mtime=0))
        (folder / "syslinux.cfg").write_text(_BOOT)
        disk.truncate(DISK_BYTES)
        disk.write(_boot_record())
        disk.flush()
        offset = _FIRST_SECTOR * _SECTOR
        partition = f"{target}@@{offset}"
        sectors = DISK_BYTES // _SECTOR - _FIRST_SECTOR
        _run("mformat", "-i", partition, "-T", str(sectors), "-h", "64", "-s", "32", "::")
        _run("syslinux", "--install", "--offset", str(offset), str(target))
        files = [str(folder / name) for name in ("vmlinuz", "init.gz", "syslinux.cfg")]
        _run("mcopy", "-i", partition, *files, "::")


def find_kernel(cache: Path) -> Path:
    """Debian's cloud kernel, fetched with apt (which needs no root) unless it is there."""
    kernel = cache / "vmlinuz"
    if kernel.exists():
        return kernel
    depends = _run("apt-cache", "depends", "--no-recommends", _KERNEL_PACKAGE)
    found = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", depends)
    if found is None:
        raise GuestNotBuiltError(
            f"apt knows no kernel for {_KERNEL_PACKAGE}.", next_step="Run `apt-get update` as root."
        )
    with tempfile.TemporaryDirectory(dir=cache) as work:
        _run("apt-get", "-q", "download", found[1], cwd=work)
        (package,) = Path(work).glob("*.deb")
        _run("dpkg-deb", "-x", str(package), f"{work}/unpacked")
        (image,) = Path(work, "unpacked", "boot").glob("vmlinuz-*")
        image.replace(kernel)
    return kernel


def _boot_record() -> bytes:
    """syslinux's code, one active partition to the end of the disk, the signature."""
    code = _MBR_CODE.read_bytes()[:_MBR_CODE_BYTES] if _MBR_CODE.exists() else b""
    if not code:
        raise GuestNotBuiltError(
            f"{_MBR_CODE} is missing.", next_step="Install Debian's syslinux-common."
        )
    sectors = DISK_BYTES // _SECTOR - _FIRST_SECTOR
    everywhere = b"\xfe\xff\xff"
    partition = struct.pack(
        "<B3sB3sII", 0x80, everywhere, _FAT16_LBA, everywhere, _FIRST_SECTOR, sectors
    )
    return code.ljust(446, b"\0") + partition.ljust(64, b"\0") + b"\x55\xaa"


def _initramfs(busybox: Path, marker: str) -> bytes:
    script = f"""#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
echo "{marker}, up $(/bin/busybox cut -d' ' -f1 /proc/uptime) s" >/dev/console
while true; do /bin/busybox sleep 3600; done
"""
    entries = [
        _cpio("dev", 0o040755),
        _cpio("proc", 0o040755),
        _cpio("bin", 0o040755),
        _cpio("bin/busybox", 0o100755, busybox.read_bytes()),
        _cpio("init", 0o100755, script.encode()),
        _cpio("TRAILER!!!", 0),
    ]
    return b"".join(entries)


def _cpio(name: str, mode: int, content: bytes = b"") -> bytes:
    """One entry of a cpio archive in the form that Linux takes ("newc")."""
    # Inode, mode, owner, group, links, time, size, four device numbers, length of name, checksum.
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + "".join(f"{field:08X}" for field in fields).encode()
    named = head + name.encode() + b"\0"
    return _filled(named) + _filled(content)


def _filled(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)


def _run(*command: str, cwd: str | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise GuestNotBuiltError(
            f"{command[0]} is not installed.",
            next_step="Run deploy/openstack/build.sh vm as root, or install syslinux and mtools.",
        )
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        raise GuestNotBuiltError(
            f"{command[0]} failed: {said[-500:]}", next_step="See its words, then try again."
        ) from error
    return done.stdout
