"""What uploads need of the room whose packages they bring the content of."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol
from uuid import UUID


class PackageContents(Protocol):
    """Thread-safe. Each method can be called again after a crash."""

    def expect(self, package_id: UUID, size_bytes: int) -> str:
        """From now on its content comes by an upload. Answers the project that owns the package.

        Raises where there is no such package, it is not empty, or its project is full.
        """
        ...

    def take(self, package_id: UUID, file: Path) -> None:
        """All of it is in `file`, to which nobody writes any more; the caller removes it. Raises
        where the disk does."""
        ...

    def expect_no_more(self, package_id: UUID) -> None:
        """Its upload was thrown away."""
        ...

    def settle(self, coming: Collection[UUID]) -> None:
        """Call at start, with the packages whose uploads are open: there are no others."""
        ...
