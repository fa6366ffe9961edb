"""When a slave stack was last heard of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True)
class Contact:
    """`lost_at` is None while it answers, and as long as nobody asked."""

    heard_at: datetime | None = None
    lost_at: datetime | None = None

    def answered(self, at: datetime) -> Contact:
        return Contact(heard_at=at)

    def failed(self, at: datetime) -> Contact:
        """Later failures do not move the moment at which it was lost."""
        return self if self.lost_at is not None else replace(self, lost_at=at)
