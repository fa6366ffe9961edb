"""Two Alices share three Bobs, with emulated units: both work at once, no Bob is lit by two."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

import pytest
from turn_lab import TurnHouse

from emulators.lab.lab import Lab, LabOptions
from emulators.lab.plans import ALICES


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnHouse]:
    options = LabOptions(time_scale=1000.0, pool_target_keys=24, key_capacity=256)
    lab = Lab(tmp_path_factory.mktemp("alices"), options, ALICES)
    lab.up()
    running = TurnHouse(lab)
    yield running
    running.light.close()
    lab.down()


def test_two_alices_work_at_once_and_share_the_bobs(house: TurnHouse) -> None:
    links = [site.link for site in ALICES.sites]
    house.until(lambda: all(house.done(link) for link in links), "every Bob has a turn")
    turns = [turn for link in links for turn in house.done(link)]
    assert {turn["alice"] for turn in turns} == set(ALICES.alices)
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for turn in turns:
        begin, end = (datetime.fromisoformat(turn[key]) for key in ("started_at", "ended_at"))
        spans.setdefault(turn["alice"], []).append((begin, end))
    for of_one in spans.values():
        assert all(a[1] <= b[0] for a, b in pairwise(sorted(of_one)))
    first, second = (spans[alice] for alice in ALICES.alices)
    assert any(a[0] < b[1] and b[0] < a[1] for a in first for b in second), "at once"
    assert house.light.violations == []
    for site in ALICES.sites:
        here, there = house.keys_at("orchestrator", site.link), house.keys_at(site.name, site.link)
        assert here["AVAILABLE"]
        assert here["AVAILABLE"] <= there["AVAILABLE"]


def test_the_bobs_of_an_alice_who_is_gone_go_to_the_other(house: TurnHouse) -> None:
    pools = house.get("/api/v1/schedule/pools")
    gone = pools[0]["alice"]
    link = pools[0]["link"]
    house.lab.processes[f"agent-{gone}"].kill()
    before = house.last_number()
    house.client.put(f"/api/v1/schedule/bobs/{link}/pin", {"kind": "next"})
    house.until(lambda: bool(house.done(link, before)), "the other one serves him", 60.0)
    assert house.done(link, before)[0]["alice"] != gone
    assert ("alice-silent", gone) in house.alarms()
    house.lab.restart(f"agent-{gone}")
    house.until(lambda: bool(house.alarms()["alice-silent", gone]["over_at"]), "she is back")
