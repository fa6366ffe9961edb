from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest


@pytest.fixture(autouse=True)
def _tshark(missing_part: Callable[[str, str], None]) -> None:
    if shutil.which("tshark") is None:
        missing_part("tshark", "install Debian's tshark")
