"""A second of the fuzz target in every test run."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def test_a_second_of_fuzzing() -> None:
    path = Path(__file__).with_name("fuzz_tl1.py")
    spec = importlib.util.spec_from_file_location("fuzz_tl1", path)
    assert spec is not None
    assert spec.loader is not None
    target = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(target)
    assert target.fuzz(seconds=1.0, seed=7) > 100
