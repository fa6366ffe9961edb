"""What one statement can name: databases bear only so many parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

BATCH = 500

Thing = TypeVar("Thing")


def in_batches(things: Iterable[Thing]) -> Iterator[list[Thing]]:
    """All of `things`, `BATCH` of them at a time."""
    every = list(things)
    for start in range(0, len(every), BATCH):
        yield every[start : start + BATCH]
