"""The state machine of both ends, in the size of a unit test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from pair_of_ends import PairOfEnds, two_databases


def test_no_key_is_used_twice_or_lost_whatever_happens() -> None:
    with two_databases() as homes:
        machine = type("Pair", (PairOfEnds,), {"homes": homes})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=6,
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
