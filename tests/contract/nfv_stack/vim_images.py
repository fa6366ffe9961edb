"""Images that no other test run shares, and what is announced of them.

Archives of containers, and disks of virtual machines; the small ones cannot run.
"""

from __future__ import annotations

import secrets
import struct
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from blake3 import blake3

from nfv_stack.contract import normal_archive
from nfv_stack.contract.disk_image import disk_id
from nfv_stack.contract.schemas import ImageFormat
from nfv_stack.vim.port import ImageSpec, InstanceSpec


@dataclass
class Image:
    """An archive and what is announced of it."""

    vim_image_id: str
    content: bytes
    format: ImageFormat = ImageFormat.DOCKER_ARCHIVE

    def spec(self, *, found_here: bool = False) -> ImageSpec:
        return ImageSpec(
            blake3(self.content).digest(),
            len(self.content),
            self.format,
            self.vim_image_id,
            found_here=found_here,
        )

    def chunks(self, size: int = 65536) -> Iterator[memoryview]:
        for start in range(0, len(self.content), size):
            yield memoryview(self.content)[start : start + size]


def unlike_any_other() -> dict[str, object]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": {"qnfv.test": secrets.token_hex(8)}},
    }


def small_image(**config: object) -> Image:
    """Not runnable, with a layer of its own."""
    layer = BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("data")
        info.size = 200_000
        tar.addfile(info, BytesIO(secrets.token_bytes(info.size)))
    return Image(*normal_archive.build({**unlike_any_other(), **config}, [layer.getvalue()]))


DISK_BYTES = 3_000_017
"""No multiple of anything."""


def small_disk(image_format: ImageFormat = ImageFormat.RAW, *, size: int = DISK_BYTES) -> Image:
    """A disk with one partition, or an empty qcow2 of 1 GiB, and random bytes behind."""
    head = _boot_record(size) if image_format is ImageFormat.RAW else _qcow2_header()
    return disk_of(head + secrets.token_bytes(size - len(head)), image_format)


def disk_of(content: bytes, image_format: ImageFormat) -> Image:
    return Image(disk_id(blake3(content).digest()), content, image_format)


def _boot_record(size: int) -> bytes:
    partition = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, bytes(3), 1, size // 512 - 1)
    return bytes(446) + partition.ljust(64, b"\0") + b"\x55\xaa"


def _qcow2_header() -> bytes:
    """Version 3, clusters of 64 KiB, tables in the clusters 1 to 3."""
    cluster = 65536
    return struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        *(b"QFI\xfb", 3, 0, 0, 16, 1024**3, 0, 2, 3 * cluster, cluster, 1, 0, 0, 0, 0, 0, 4, 104),
    )


def instance_of(image: Image, **changes: object) -> InstanceSpec:
    fields = {
        "instance_id": uuid.uuid4(),
        "name": "web",
        "placed_image_id": image.vim_image_id,
        "image_digest": image.spec().digest,
        "memory_mib": 64,
        "cpus": 1.0,
        **changes,
    }
    return InstanceSpec(**fields)
