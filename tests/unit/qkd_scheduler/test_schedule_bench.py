"""The bench measures what it says: known answers, seeded instances."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks.schedule import bench
from qkd_scheduler.bounds import without_set_ups_bps
from qkd_scheduler.policies.catalogue import named


def test_instances_are_those_of_the_task_and_repeat() -> None:
    for seed in range(30):
        of = bench.random_instance(seed)
        assert of == bench.random_instance(seed)
        assert 2 <= len(of.lots) <= 12
        unhindered_bps = without_set_ups_bps([lot.rate_bps for lot in of.lots])
        for lot in of.lots:
            assert 130 < lot.rate_bps <= 4001
            assert 6 <= lot.capacity_bit / 3600 / unhindered_bps <= 24
    assert bench.random_instance(1) != bench.random_instance(2)


def test_equal_bobs_are_served_up_to_the_bound_by_a_common_cycle() -> None:
    # Equal Bobs need their longest cycles in common: there the bound is reached.
    of = bench.instance([10.0, 10.0, 10.0], [12.0, 12.0, 12.0])
    share = bench.served_share(of, partial(named, "proportional"))
    assert share == pytest.approx(1.0, abs=0.015)


def test_a_useless_policy_serves_what_the_stores_held_and_no_more() -> None:
    of = bench.instance([10.0, 10.0], [12.0, 12.0])
    share = bench.served_share(of, lambda: lambda bobs: None)
    # Half a day's store for 15 days of the demand.
    unhindered = sum(1 / lot.rate_bps for lot in of.lots) ** -1 / of.bound_bps
    assert share == pytest.approx(0.5 / 15 * unhindered, abs=0.003)


def test_the_table_has_a_row_per_policy() -> None:
    entry = {"shares": dict.fromkeys(bench.POLICIES, 0.5), "sharper_bound": 1.0}
    lab = {**entry, "lot_sizing_to_sequential": 1.0}
    table = bench.table({"days": 15.0, "long_days": 60.0, "instances": [entry], "lab": lab})
    assert table.row_count == len(bench.POLICIES) + 1
