"""What the request at hand is about, named by whoever knows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_subjects: ContextVar[dict[str, str] | None] = ContextVar("audit_subjects", default=None)


@contextmanager
def collecting_subjects() -> Iterator[dict[str, str]]:
    """Subjects that are named within the block, by other threads of the same request too."""
    found: dict[str, str] = {}
    token = _subjects.set(found)
    try:
        yield found
    finally:
        _subjects.reset(token)


def name_subjects(**ids: object) -> None:
    """Say the ids of what this request changes, never a secret; outside a request it is nothing."""
    found = _subjects.get()
    if found is not None:
        found.update({name: str(value) for name, value in ids.items()})
