"""A house of processes for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    things = House(tmp_path)
    yield things
    things.close()
