"""What a disk is, is read from its bytes; one that refers to other files is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from nfv_stack.contract.schemas import ImageFormat
from orchestrator.catalogue.disk_image import disk_format
from orchestrator.errors import ImageRefusedError


def qcow2(
    *, version: int = 3, backing: int = 0, incompatible: int = 0, length: int = 4096
) -> bytes:
    head = struct.pack(">4sIQ", b"QFI\xfb", version, backing)
    return (head.ljust(72, b"\0") + struct.pack(">Q", incompatible)).ljust(length, b"\0")[:length]


def found(tmp_path: Path, content: bytes) -> ImageFormat | None:
    disk = tmp_path / "disk"
    disk.write_bytes(content)
    return disk_format(disk)


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (qcow2(), ImageFormat.QCOW2),
        (qcow2(version=2), ImageFormat.QCOW2),
        (qcow2(incompatible=1), ImageFormat.QCOW2),
        (bytes(510) + b"\x55\xaa" + bytes(4000), ImageFormat.RAW),
        (bytes(512) + b"EFI PART" + bytes(4000), ImageFormat.RAW),
        (b"", None),
        (bytes(4096), None),
        (b"QFI", None),
        (b"hello" * 1000, None),
    ],
)
def test_formats(tmp_path: Path, content: bytes, form: ImageFormat | None) -> None:
    assert found(tmp_path, content) is form


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (qcow2(backing=512), "backing file"),
        (qcow2(version=2, backing=512), "backing file"),
        (qcow2(incompatible=4), "external data file"),
        (qcow2(incompatible=5), "external data file"),
        (qcow2(length=50), "ends within its header"),
        (qcow2(version=1), "version 1"),
        (qcow2(version=9), "version 9"),
        (b"KDMV" + bytes(600), "VMDK"),
        (b"# Disk DescriptorFile\nversion=1\n" + bytes(600), "VMDK"),
        (b"COWD" + bytes(600), "VMDK"),
    ],
)
def test_refused_with_the_reason(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(ImageRefusedError, match=why) as error:
        found(tmp_path, content)
    assert error.value.next_step
