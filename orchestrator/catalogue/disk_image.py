"""Disks of virtual machines: the format is found out, never believed.

A disk that refers to other files (a qcow2 with a backing or external data file, a VMDK descriptor)
would read files of the host that runs it: refused.
"""

from __future__ import annotations

import struct
from pathlib import Path

from nfv_stack.contract.schemas import ImageFormat
from orchestrator.errors import ImageRefusedError

_QCOW2_MAGIC = b"QFI\xfb"
_QCOW2_VERSIONS = (2, 3)
_QCOW2_EXTERNAL_DATA = 1 << 2
_VMDK_MAGICS = (b"KDMV", b"COWD", b"# Disk Descripto")
_HEAD_BYTES = 4096


def disk_format(file: Path) -> ImageFormat | None:
    """The format of a disk image, None if it is none. Raises ImageRefusedError."""
    with file.open("rb") as handle:
        head = handle.read(_HEAD_BYTES)
    if head.startswith(_QCOW2_MAGIC):
        _check_qcow2(head)
        return ImageFormat.QCOW2
    if head.startswith(_VMDK_MAGICS):
        raise ImageRefusedError(
            "A VMDK disk can refer to other files of the host, so none is taken.",
            next_step="Convert it: `qemu-img convert -O qcow2 DISK.vmdk DISK.qcow2`.",
        )
    if head[510:512] == b"\x55\xaa" or head[512:520] == b"EFI PART":
        return ImageFormat.RAW
    return None


def _check_qcow2(head: bytes) -> None:
    """QEMU's qcow2 header: version at 4, backing file offset at 8, incompatible features at 72."""
    if len(head) < 104:
        raise ImageRefusedError(
            "The qcow2 disk ends within its header.", next_step="Fetch it again; it is truncated."
        )
    version, backing_offset = struct.unpack_from(">IQ", head, 4)
    if version not in _QCOW2_VERSIONS:
        raise ImageRefusedError(
            f"The qcow2 disk has version {version}, which is not known here.",
            next_step="Convert it: `qemu-img convert -O qcow2 DISK NEW`.",
        )
    incompatible = struct.unpack_from(">Q", head, 72)[0] if version >= 3 else 0
    if backing_offset or incompatible & _QCOW2_EXTERNAL_DATA:
        what = "a backing file" if backing_offset else "an external data file"
        raise ImageRefusedError(
            f"The qcow2 disk refers to {what}, which would be read from the host that runs it.",
            next_step="Flatten it: `qemu-img convert -O qcow2 DISK FLAT`.",
        )
