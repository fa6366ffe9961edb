"""Images that no other test run shares, and what is announced of them."""

from __future__ import annotations

import secrets
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from blake3 import blake3

from nfv_stack.contract import normal_archive
from nfv_stack.contract.schemas import ImageFormat
from nfv_stack.vim.port import ImageSpec, InstanceSpec


@dataclass
class Image:
    """An archive and what is announced of it."""

    vim_image_id: str
    content: bytes

    def spec(self, *, found_here: bool = False) -> ImageSpec:
        return ImageSpec(
            blake3(self.content).digest(),
            len(self.content),
            ImageFormat.DOCKER_ARCHIVE,
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
