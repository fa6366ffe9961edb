"""A small data centre and the centre that sends to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_data_centre import Centre, DataCentre


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[DataCentre]:
    made = DataCentre(tmp_path / "remote")
    yield made
    made.close()


@pytest.fixture
def centre(tmp_path: Path, remote: DataCentre) -> Centre:
    (tmp_path / "centre").mkdir()
    return Centre(tmp_path / "centre", remote)
