"""`kill -9` of the orchestrator in any state of a turn: the light goes out, half extracted keys are
discarded at both ends, and the next turn works."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from turn_lab import TurnHouse

from emulators.lab.lab import Lab, LabOptions
from emulators.lab.plans import PAPER
from orchestrator.cli.client import UnreachableError
from qkd_scheduler.states import TurnState

LAUNCHER = Path(__file__).parent / "serve_until_fail_point.py"
LINK, PLACE, OTHER = "alice--bob-2", "dc-2", "alice--bob-1"
BETWEEN = (
    "lit",
    "bob-started",
    "half-extracted",
    "extracted-at-both",
    "confirmed-by-bob",
    "alice-stopped",
)

TWO_BOBS = ("lit", "initialising", "generating", "alice-stopped")
"""Where Alice is lit, another Bob is asked for as well."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnHouse]:
    """Turns are short, and pools take all that they bring; at 27 km that is little."""
    settings = {
        "schedule.policy": "sequential",
        "schedule.lease_s": 0.8,
        "schedule.retry_after_s": 100.0,
        "schedule.retry_at_most_s": 1000.0,
    }
    lab = Lab(
        tmp_path_factory.mktemp("turns"),
        LabOptions(
            time_scale=1000.0,
            slot_s=60.0,
            pool_target_keys=1,
            key_capacity=100_000,
            overrides=tuple(("orchestrator", key, value) for key, value in settings.items()),
        ),
    )
    far = re.sub(r"km = (5|15)$", "km = 27", PAPER.topology_file.read_text(), flags=re.MULTILINE)
    lab.topology_file.write_text(far)
    fail_point = lab.layout.folder / "fail-point"
    fail_point.write_text("")
    process = lab.processes["orchestrator"]
    settings_file = str(lab.layout.settings("orchestrator"))
    argv = (sys.executable, str(LAUNCHER), "orchestrator", settings_file, f"turn@{fail_point}")
    process.spec = replace(process.spec, argv=argv)
    lab.up()
    running = TurnHouse(lab)
    try:
        running.client.put("/api/v1/schedule/bobs/alice--bob-3/exclude", {})
        running.until(
            lambda: all(running.done(link) for link in (LINK, OTHER)), "a first turn of both"
        )
        yield running
    finally:
        running.light.close()
        lab.down()


@pytest.mark.parametrize("where", [*(state.value for state in TurnState), *BETWEEN])
def test_after_a_crash_nothing_is_lit_twice_and_nothing_is_half(
    house: TurnHouse, where: str
) -> None:
    process, fail_point = (
        house.lab.processes["orchestrator"],
        house.lab.layout.folder / "fail-point",
    )
    house.until(lambda: house.light.quantum_paths == [], "Alice rests")
    before = house.last_number()
    fail_point.write_text(where)
    with suppress(UnreachableError):  # it may die before it answers
        house.keys_now(LINK)
    house.until(lambda: process.pid is None, f"the orchestrator dies at {where}")
    fail_point.write_text("")
    house.lab.restart("orchestrator")
    house.keys_now(LINK)
    if where in TWO_BOBS:
        house.keys_now(OTHER)

    died = next_number(house, before)
    house.until(lambda: bool(house.done(LINK, died)), "his next turn works")
    house.until(
        lambda: where not in TWO_BOBS or bool(house.done(OTHER, died)), "another Bob's turn works"
    )
    [turn] = [t for t in house.turns(LINK) if t["number"] == died]
    if where == TurnState.DONE:
        assert turn["state"] == "done"
    else:
        assert turn["state"] == "failed"
        assert turn["fault"] == ("light-lost" if where == TurnState.FAILED else "interrupted")
        assert turn["detail"]
    assert house.light.violations == []
    house.until(lambda: house.light.quantum_paths == [], "Alice rests in the dark")
    here, there = house.keys_at("orchestrator", LINK), house.keys_at(PLACE, LINK)
    assert "PENDING" not in here
    assert "PENDING" not in there
    assert here["AVAILABLE"] == there["AVAILABLE"]


def next_number(house: TurnHouse, before: int) -> int:
    """The number of the turn in which the orchestrator died."""
    numbers = [t["number"] for t in house.turns(LINK) if t["number"] > before]
    return int(min(numbers))
