"""Disks on their way in: found out, never believed, whatever the pieces they come in."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfv_stack.contract.disk_image import inspect_disk
from nfv_stack.contract.schemas import ImageFormat
from nfv_stack.errors import ImageRejectedError
from nfv_stack.image_intake.archive_inspector import ArchiveInspector
from nfv_stack.image_intake.disk_inspector import DiskInspector
from nfv_stack.image_intake.inspectors import open_inspector
from nfv_stack.vim.port import ImageSpec

RAW = bytes(510) + b"\x55\xaa" + bytes(9000)
QCOW2 = b"QFI\xfb" + struct.pack(">I", 3) + bytes(9000)


def with_features(bits: int) -> bytes:
    head = bytearray(QCOW2)
    struct.pack_into(">Q", head, 72, bits)
    return bytes(head)


def inspect(content: bytes, announced: ImageFormat, *, size: int | None = None, step: int = 1000):
    spec = ImageSpec(bytes(32), len(content) if size is None else size, announced, "blake3:00")
    inspector = DiskInspector(spec)
    for start in range(0, len(content), step):
        inspector.feed(memoryview(content)[start : start + step])
    inspector.finish()


@pytest.mark.parametrize(
    ("content", "announced"), [(RAW, ImageFormat.RAW), (QCOW2, ImageFormat.QCOW2)]
)
@given(step=st.integers(1, 10_000))
def test_a_disk_of_the_announced_format_passes(content, announced, step: int) -> None:
    inspect(content, announced, step=step)


@pytest.mark.parametrize(
    ("content", "announced", "why"),
    [
        (RAW, ImageFormat.QCOW2, "is a raw disk, announced was qcow2"),
        (QCOW2, ImageFormat.RAW, "is a qcow2 disk, announced was raw"),
        (bytes(9000), ImageFormat.RAW, "no disk"),
        (b"", ImageFormat.RAW, "no disk"),
        (with_features(1 << 2), ImageFormat.QCOW2, "external data file"),
        (with_features(1 << 1), ImageFormat.QCOW2, "corrupt"),
        (with_features(1 << 9), ImageFormat.QCOW2, "features"),
        (b"QFI\xfb" + struct.pack(">IQ", 3, 512) + bytes(9000), ImageFormat.QCOW2, "backing"),
        (b"# Disk DescriptorFile" + bytes(9000), ImageFormat.RAW, "VMDK"),
        (b"KDMV" + bytes(506) + b"\x55\xaa" + bytes(4000), ImageFormat.RAW, "VMDK"),
        (b"vhdxfile" + RAW[8:], ImageFormat.RAW, "VHDX"),
        (RAW[:0x40] + b"\x7f\x10\xda\xbe" + RAW[0x44:], ImageFormat.RAW, "VDI"),
    ],
)
def test_what_is_refused(content: bytes, announced: ImageFormat, why: str) -> None:
    with pytest.raises(ImageRejectedError, match=why):
        inspect(content, announced)


def test_it_is_refused_before_most_of_it_came() -> None:
    inspector = DiskInspector(ImageSpec(bytes(32), 10**9, ImageFormat.RAW, "blake3:00"))
    with pytest.raises(ImageRejectedError):
        inspector.feed(memoryview(bytes(65536)))
    with pytest.raises(ImageRejectedError):
        inspector.feed(memoryview(RAW))
    with pytest.raises(ImageRejectedError):
        inspector.finish()


@pytest.mark.parametrize("size", [len(RAW) - 1, len(RAW) + 1])
def test_another_size_than_announced(size: int) -> None:
    with pytest.raises(ImageRejectedError, match=f"announced were {size}"):
        inspect(RAW, ImageFormat.RAW, size=size)


@given(st.binary(max_size=600))
def test_any_bytes_are_found_out_or_refused(content: bytes) -> None:
    found = inspect_disk(content)
    assert found.format is None or not found.refusal
    assert bool(found.refusal) == bool(found.next_step)


def test_each_format_has_its_inspector() -> None:
    def opened(image_format: ImageFormat) -> object:
        image_id = "sha256:" + "0" * 64
        return open_inspector(ImageSpec(bytes(32), 1, image_format, image_id))

    assert isinstance(opened(ImageFormat.DOCKER_ARCHIVE), ArchiveInspector)
    assert isinstance(opened(ImageFormat.RAW), DiskInspector)
    assert isinstance(opened(ImageFormat.QCOW2), DiskInspector)
