"""Disks of virtual machines: the format is found out, never believed.

Whoever sends an image and whoever receives it look at it with the same eyes; each raises errors of
its own. A disk that refers to other files (a qcow2 with a backing or external data file, a VMDK
descriptor) would read files of the host that runs it, so it is refused.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from nfv_stack.contract.schemas import ImageFormat

HEAD_BYTES = 4096
"""How much of a disk has to be seen; a shorter disk is seen whole."""
ID_PREFIX = "blake3:"
"""A disk has no id inside, so its id at a VIM is the digest of its content."""

_DISK_ID = re.compile(rf"{ID_PREFIX}[0-9a-f]{{64}}")
_DISK_FORMATS = frozenset({ImageFormat.RAW, ImageFormat.QCOW2})
_QCOW2_MAGIC = b"QFI\xfb"
_QCOW2_VERSIONS = (2, 3)
_QCOW2_HEADER_BYTES = 104
_QCOW2_CORRUPT = 1 << 1
_QCOW2_EXTERNAL_DATA = 1 << 2
_QCOW2_KNOWN = (1 << 5) - 1
"""dirty, corrupt, external data file, compression type, extended L2 entries"""
_VMDK_MAGICS = (b"KDMV", b"COWD", b"# Disk Descripto")
# Offset, magic, name: formats whose reader could be asked for more than the bytes that came.
_OTHERS = (
    (0, b"QED\0", "QED"),
    (0, b"conectix", "VHD"),
    (0, b"vhdxfile", "VHDX"),
    (0x40, b"\x7f\x10\xda\xbe", "VDI"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0, b"WithoutFreeSpace", "Parallels"),
    (0, b"WithouFreSpacExt", "Parallels"),
)


@dataclass(frozen=True)
class DiskFinding:
    """What the head of a file is: a disk of this `format`, no disk (None), or one to refuse."""

    format: ImageFormat | None
    refusal: str = ""
    """Why no such disk is taken; empty if it may be."""
    next_step: str = ""


def is_disk_format(image_format: ImageFormat) -> bool:
    return image_format in _DISK_FORMATS


def is_disk_id(image_id: str) -> bool:
    return _DISK_ID.fullmatch(image_id) is not None


def disk_id(digest: bytes) -> str:
    """The id at a VIM of the disk with this BLAKE3 digest."""
    return f"{ID_PREFIX}{digest.hex()}"


def inspect_disk(head: bytes) -> DiskFinding:
    """Find out what a file is from its first `HEAD_BYTES`."""
    if head.startswith(_QCOW2_MAGIC):
        return _qcow2(head)
    if head.startswith(_VMDK_MAGICS):
        return DiskFinding(
            None,
            "A VMDK disk can refer to other files of the host, so none is taken.",
            "Convert it: `qemu-img convert -O qcow2 DISK.vmdk DISK.qcow2`.",
        )
    for offset, magic, name in _OTHERS:
        if head[offset : offset + len(magic)] == magic:
            return DiskFinding(
                None,
                f"A {name} disk is not taken: only raw and qcow2 are known here.",
                "Convert it: `qemu-img convert -O qcow2 DISK NEW.qcow2`.",
            )
    if head[510:512] == b"\x55\xaa" or head[512:520] == b"EFI PART":
        return DiskFinding(ImageFormat.RAW)
    return DiskFinding(None)


def compare_disk(head: bytes, announced: ImageFormat) -> DiskFinding:
    """What `inspect_disk` finds; refused too if that is not what was announced."""
    found = inspect_disk(head)
    if found.refusal or found.format is announced:
        return found
    is_what = f"a {found.format.value} disk" if found.format else "no disk"
    return DiskFinding(
        found.format,
        f"The stream is {is_what}, announced was {announced.value}.",
        "The image in the catalogue is damaged, or its sender is not ours; add the image again.",
    )


def _qcow2(head: bytes) -> DiskFinding:
    """QEMU's qcow2 header: version at 4, backing file offset at 8, incompatible features at 72."""
    if len(head) < _QCOW2_HEADER_BYTES:
        return DiskFinding(
            None,
            "The qcow2 disk ends within its header.",
            "Fetch it again; it is truncated.",
        )
    version, backing_offset = struct.unpack_from(">IQ", head, 4)
    if version not in _QCOW2_VERSIONS:
        return DiskFinding(
            None,
            f"The qcow2 disk has version {version}, which is not known here.",
            "Convert it: `qemu-img convert -O qcow2 DISK NEW`.",
        )
    incompatible = struct.unpack_from(">Q", head, 72)[0] if version >= 3 else 0
    if backing_offset or incompatible & _QCOW2_EXTERNAL_DATA:
        what = "a backing file" if backing_offset else "an external data file"
        return DiskFinding(
            None,
            f"The qcow2 disk refers to {what}, which would be read from the host that runs it.",
            "Flatten it: `qemu-img convert -O qcow2 DISK FLAT`.",
        )
    if incompatible & (_QCOW2_CORRUPT | ~_QCOW2_KNOWN):
        return DiskFinding(
            None,
            "The qcow2 disk is marked corrupt, or needs features that are not known here.",
            "Look at it with `qemu-img check`, and convert it anew to qcow2.",
        )
    return DiskFinding(ImageFormat.QCOW2)
