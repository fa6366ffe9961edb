"""Faults of real turns with emulated units: bad error rate, cut fibre, no light, a silent Bob."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from turn_lab import TurnHouse

from emulators.lab.lab import Lab, LabOptions

NEAR, MIDDLE, FAR = (f"alice--bob-{n}" for n in (1, 2, 3))
FIBRE_OF = {NEAR: "quantum-spool-1", MIDDLE: "quantum-spool-2"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnHouse]:
    """The line of 25 km has a QBER of 5.3 %; here that is too much."""
    settings = {
        "schedule.qber_threshold": 0.045,
        "schedule.initialisation_limit_s": 2_000.0,
        "schedule.program_start_limit_s": 1.0,
        "schedule.retry_after_s": 2_000.0,
        "schedule.retry_at_most_s": 8_000.0,
    }
    lab = Lab(
        tmp_path_factory.mktemp("faults"),
        LabOptions(
            time_scale=1000.0,
            pool_target_keys=24,
            key_capacity=256,
            overrides=tuple(("orchestrator", key, value) for key, value in settings.items()),
        ),
    )
    lab.up()
    running = TurnHouse(lab)
    try:
        running.until(
            lambda: all(running.done(link) for link in (NEAR, MIDDLE)), "turns of the good ones"
        )
        yield running
    finally:
        running.light.close()
        lab.down()


def failed(house: TurnHouse, link: str, after: int = 0) -> list[dict[str, object]]:
    return [t for t in house.turns(link) if t["state"] == "failed" and t["number"] > after]


def hold(house: TurnHouse, link: str) -> None:
    """Alice stays with this Bob, whatever his pool holds."""
    document = {"kind": "hold", "interrupt": True}
    house.client.put(f"/api/v1/schedule/bobs/{link}/pin", document)


def release(house: TurnHouse, link: str) -> None:
    house.client.delete(f"/api/v1/schedule/bobs/{link}/pin")


def test_keys_of_a_line_with_a_bad_error_rate_are_quarantined_at_both_ends(
    house: TurnHouse,
) -> None:
    house.until(lambda: bool(failed(house, FAR)), "the far one's turn is ended")
    turn = failed(house, FAR)[-1]
    assert turn["fault"] == "qber"
    assert turn["qber_max"] > 0.045  # type: ignore[operator]
    assert "quarantined" in str(turn["detail"])
    for place in ("orchestrator", "dc-3"):
        keys = house.keys_at(place, FAR)
        assert not keys.get("AVAILABLE")
        assert not keys.get("PENDING")
    alarm = house.alarms()["qber", FAR]
    assert "QBER" in alarm["detail"]
    # He backs off, and the others are served as ever.
    attempts = len(house.turns(FAR))
    last = house.last_number()
    hold(house, NEAR)
    house.until(lambda: house.turns(NEAR)[0]["state"] == "generating", "the near one is served")
    release(house, NEAR)
    house.until(lambda: bool(house.done(NEAR, last)), "his turn ends in order")
    assert len(house.turns(FAR)) <= attempts + 2


def test_a_fibre_that_is_cut_in_the_middle_ends_the_turn_and_the_next_one_works(
    house: TurnHouse,
) -> None:
    before = house.last_number()
    hold(house, NEAR)
    house.until(
        lambda: (
            house.turns(NEAR)[0]["number"] > before
            and house.turns(NEAR)[0]["state"] == "generating"
        ),
        "he generates",
    )
    house.light.cut(FIBRE_OF[NEAR])
    house.until(lambda: bool(failed(house, NEAR, before)), "the turn ends")
    assert failed(house, NEAR, before)[0]["fault"] == "light-lost"
    release(house, NEAR)
    assert ("light-lost", NEAR) in house.alarms()
    house.light.repair(FIBRE_OF[NEAR])
    cut = house.last_number()
    house.client.put(f"/api/v1/schedule/bobs/{NEAR}/pin", {"kind": "next"})
    house.until(lambda: bool(house.done(NEAR, cut)), "the next turn works")
    house.until(lambda: bool(house.alarms()["light-lost", NEAR]["over_at"]), "the alarm is over")
    here, there = (house.keys_at(place, NEAR) for place in ("orchestrator", "dc-1"))
    assert here.get("AVAILABLE") == there.get("AVAILABLE")


def test_no_unit_is_started_over_a_fibre_that_the_switch_knows_to_be_lost(
    house: TurnHouse,
) -> None:
    house.light.cut(FIBRE_OF[MIDDLE])
    before = house.last_number()
    house.client.put(f"/api/v1/schedule/bobs/{MIDDLE}/pin", {"kind": "next", "interrupt": True})
    house.until(lambda: bool(failed(house, MIDDLE, before)), "it is refused")
    turn = failed(house, MIDDLE, before)[0]
    assert turn["fault"] == "path"
    assert "connecting: " in str(turn["detail"])
    assert "no quantum path joins them" in str(turn["detail"])
    assert turn["generating_at"] is None
    house.light.repair(FIBRE_OF[MIDDLE])
    house.client.put(f"/api/v1/schedule/bobs/{MIDDLE}/pin", {"kind": "next"})
    house.until(lambda: bool(house.done(MIDDLE, before)), "with light it works")


def test_a_bob_who_does_not_answer_is_named(house: TurnHouse) -> None:
    before = house.last_number()
    house.lab.processes["agent-bob-1"].kill()
    try:
        house.client.put(f"/api/v1/schedule/bobs/{NEAR}/pin", {"kind": "next", "interrupt": True})
        house.until(lambda: bool(failed(house, NEAR, before)), "the turn fails")
        assert failed(house, NEAR, before)[0]["fault"] == "bob-silent"
        assert ("bob-silent", NEAR) in house.alarms()
    finally:
        house.lab.restart("agent-bob-1")
    house.client.put(f"/api/v1/schedule/bobs/{NEAR}/pin", {"kind": "next"})
    house.until(lambda: bool(house.done(NEAR, before)), "he answers again")
    assert house.light.violations == []
