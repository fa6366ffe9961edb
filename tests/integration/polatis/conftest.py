"""Starts emulated switches as processes of their own and listens for them like a controller."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_controller import Started


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    things = Started(tmp_path)
    yield things
    things.close()
