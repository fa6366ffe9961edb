"""Disks of virtual machines in the catalogue; what they are is found out by the shared contract."""

from __future__ import annotations

from pathlib import Path

from nfv_stack.contract.disk_image import HEAD_BYTES, inspect_disk
from nfv_stack.contract.schemas import ImageFormat
from orchestrator.errors import ImageRefusedError


def disk_format(file: Path) -> ImageFormat | None:
    """The format of a disk image, None if it is none. Raises ImageRefusedError."""
    with file.open("rb") as handle:
        found = inspect_disk(handle.read(HEAD_BYTES))
    if found.refusal:
        raise ImageRefusedError(found.refusal, next_step=found.next_step)
    return found.format
