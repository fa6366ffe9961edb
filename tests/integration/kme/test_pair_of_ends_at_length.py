"""The state machine of both ends, with more and longer runs than the unit test has."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

MODULE = Path(__file__).parents[2] / "unit" / "kme" / "pair_of_ends.py"


def pair_of_ends() -> ModuleType:
    spec = spec_from_file_location("pair_of_ends_at_length", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.timeout(600)
def test_no_key_is_used_twice_or_lost_in_long_histories() -> None:
    module = pair_of_ends()
    with module.two_databases() as homes:
        machine = type("Pair", (module.PairOfEnds,), {"homes": homes})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=50,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
