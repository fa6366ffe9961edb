"""Looks at a disk while it passes: a receiver must not rely on its sender's checks."""

from __future__ import annotations

from nfv_stack.contract.disk_image import HEAD_BYTES, compare_disk
from nfv_stack.errors import ImageRejectedError
from nfv_stack.vim.port import ImageSpec


class DiskInspector:
    """Keeps the head of the disk alone. What it refuses once, it refuses for ever."""

    def __init__(self, spec: ImageSpec) -> None:
        self._spec = spec
        self._head = bytearray()
        self._seen = 0
        self._looked = False
        self._refusal: ImageRejectedError | None = None

    def feed(self, chunk: memoryview) -> None:
        if self._refusal is not None:
            raise self._refusal
        self._head += chunk[: HEAD_BYTES - len(self._head)]
        self._seen += len(chunk)
        if len(self._head) == HEAD_BYTES:
            self._look()

    def finish(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        self._look()
        if self._seen != self._spec.size:
            self._refuse(
                f"The disk has {self._seen} bytes, announced were {self._spec.size}.",
                "The image in the catalogue is damaged; add it again.",
            )

    def _look(self) -> None:
        if self._looked:
            return
        self._looked = True
        found = compare_disk(bytes(self._head), self._spec.format)
        if found.refusal:
            self._refuse(found.refusal, found.next_step)

    def _refuse(self, why: str, next_step: str) -> None:
        self._refusal = ImageRejectedError(why, next_step=next_step)
        raise self._refusal
