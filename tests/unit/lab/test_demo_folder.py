"""The demo empties its own folder, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.lab.demo import _clear
from emulators.lab.errors import LabError
from emulators.lab.layout import Layout


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("three years of work")
    with pytest.raises(LabError, match="something else"):
        _clear(tmp_path)
    assert thesis.read_text() == "three years of work"


def test_an_earlier_laboratory_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    Layout.of(folder)
    _clear(folder)
    assert not folder.exists()


def test_an_empty_or_absent_folder_is_fine(tmp_path: Path) -> None:
    _clear(tmp_path)
    _clear(tmp_path / "absent")
    assert tmp_path.exists()
