"""Which inspector looks at an image of which format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nfv_stack.contract.schemas import ImageFormat
from nfv_stack.errors import ImageFormatRefusedError
from nfv_stack.image_intake.archive_inspector import ArchiveInspector
from nfv_stack.image_intake.disk_inspector import DiskInspector
from nfv_stack.vim.port import ImageSpec


class Inspector(Protocol):
    """Sees every byte of an image before the VIM does."""

    def feed(self, chunk: memoryview) -> None:
        """The next bytes. Raises ImageRejectedError."""
        ...

    def finish(self) -> None:
        """No more bytes come. Raises ImageRejectedError if some are missing."""
        ...


_INSPECTORS: dict[ImageFormat, Callable[[ImageSpec], Inspector]] = {
    ImageFormat.DOCKER_ARCHIVE: ArchiveInspector,
    ImageFormat.QCOW2: DiskInspector,
    ImageFormat.RAW: DiskInspector,
}


def open_inspector(spec: ImageSpec) -> Inspector:
    """The inspector for the format of `spec`. Raises ImageFormatRefusedError."""
    inspector = _INSPECTORS.get(spec.format)
    if inspector is None:
        raise ImageFormatRefusedError(
            f"No {spec.format.value} image can be looked at here, so none is taken.",
            next_step=f"Deploy one of these: {', '.join(sorted(_INSPECTORS))}.",
        )
    return inspector(spec)
