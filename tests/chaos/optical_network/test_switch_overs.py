"""Alice switches over from Bob to Bob while agent, orchestrator and OpenDaylight are killed.

`QNFV_SWITCH_OVERS` says how many (100 by default; `make chaos-circuits` 1,000).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import real_opendaylight
from network_house import BOBS, DATA_CENTRES, NetworkHouse

from emulators.lab.controllers import OPENDAYLIGHT
from emulators.lab.lab import Lab, LabOptions

SWITCH_OVERS = int(os.environ.get("QNFV_SWITCH_OVERS", "100"))
_SEED = 20261125
_KILL_EVERY = 6
"""Every so many switch-overs a process dies in the middle of one."""
_CONTROLLER_KILLS = 1 + SWITCH_OVERS // 250

pytestmark = [pytest.mark.real("opendaylight"), pytest.mark.timeout(600 + 6 * SWITCH_OVERS)]


@pytest.fixture
def house(tmp_path: Path, missing_part: Callable[[str, str], None]) -> Iterator[NetworkHouse]:
    if why := real_opendaylight.why_missing():
        missing_part("opendaylight", why)
    options = LabOptions(schedule_enabled=False, controller=OPENDAYLIGHT)
    made = NetworkHouse(Lab(tmp_path / "lab", options), _SEED)
    try:
        made.up()
        yield made
    finally:
        made.down()


def test_no_switch_over_leaves_a_leaked_doubled_or_half_made_circuit(house: NetworkHouse) -> None:
    began_s = time.monotonic()
    last = ""
    controller_at = set(
        house.random.sample(range(SWITCH_OVERS), min(_CONTROLLER_KILLS, SWITCH_OVERS))
    )
    for number in range(SWITCH_OVERS):
        bob = house.random.choice([b for b in BOBS if b != last])
        data_centre = house.random.choice([None, *DATA_CENTRES])
        last = bob

        def switch_over(bob: str = bob, data_centre: str | None = data_centre) -> None:
            house.switch_over(bob, data_centre)

        victim = _victim(house, number, controller_at)
        if victim is None:
            switch_over()
        else:
            house.kill_during(victim, house.random.uniform(0.0, 0.25), switch_over)
    house.check(set())
    assert house.glass.lit() == frozenset()
    assert house.client.get("/api/v1/circuits") == {"circuits": [], "waiting": []}
    assert house.glass.violations == []
    assert house.kills.get("optical-agent", 0) > 0 or SWITCH_OVERS < 3 * _KILL_EVERY
    print(
        f"\n{SWITCH_OVERS} switch-overs in {time.monotonic() - began_s:.0f} s, killed "
        f"{dict(sorted(house.kills.items()))}, refused {house.refused} "
        f"({dict(Counter(house.told))}), the light changed {house.glass.changes} times"
    )


def _victim(house: NetworkHouse, number: int, controller_at: set[int]) -> str | None:
    if number in controller_at:
        return OPENDAYLIGHT
    if number % _KILL_EVERY == _KILL_EVERY - 1:
        return house.random.choice(["optical-agent", "orchestrator"])
    return None
