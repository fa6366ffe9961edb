"""How long a deployment takes is known from what was measured at the same data centre."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

from orchestrator.vnf_lcm.estimates import TimeEstimates

NOW = datetime(2026, 1, 2, tzinfo=UTC)
THERE = uuid4()
ELSEWHERE = uuid4()


def step(name: str, seconds: float | None) -> Any:
    ended_at = None if seconds is None else NOW + timedelta(seconds=seconds)
    return SimpleNamespace(name=name, started_at=NOW, ended_at=ended_at)


def estimates(
    rates: list[tuple[str, float | None]], boots_s: list[float], **operation: Any
) -> TimeEstimates:
    steps = {uuid4(): boot_s for boot_s in boots_s}
    records = SimpleNamespace(
        transfers=lambda _: [
            SimpleNamespace(data_centre=name, rate_bytes_per_s=rate) for name, rate in rates
        ],
        deployments=lambda: [
            SimpleNamespace(deployment_id=THERE, data_centre="dc-1"),
            SimpleNamespace(deployment_id=ELSEWHERE, data_centre="dc-2"),
        ],
    )
    told = {"kind": "INSTANTIATE", "state": "COMPLETED", "deployment_id": THERE, **operation}
    journal = SimpleNamespace(
        recent=lambda _: [SimpleNamespace(operation_id=each, **told) for each in steps],
        steps=lambda each: [step("boot", steps[each]), step("stream", 1000.0), step("key", None)],
    )
    return TimeEstimates(cast("Any", records), cast("Any", journal))


def test_medians_of_that_data_centre() -> None:
    rates = [("dc-1", 1e6), ("dc-1", 2e6), ("dc-1", 4e6), ("dc-2", 1.0), ("dc-1", None)]
    found = estimates(rates, [2.0, 4.0, 60.0]).of("dc-1", 10_000_000)
    assert (found.transfer_s, found.steps_s) == (5.0, 4.0)
    assert (found.measured_transfers, found.measured_deployments) == (3, 3)


def test_what_was_not_measured_is_not_told() -> None:
    found = estimates([("dc-2", 1.0)], []).of("dc-1", 1)
    assert (found.transfer_s, found.steps_s, found.measured_transfers) == (None, None, 0)
    for other in ({"state": "ROLLED_BACK"}, {"kind": "HEAL"}, {"deployment_id": ELSEWHERE}):
        assert estimates([], [2.0], **other).of("dc-1", 1).steps_s is None
