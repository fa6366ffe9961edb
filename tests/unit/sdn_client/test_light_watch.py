"""From power readings to lost fibres."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.polatis.power import FLOOR_DBM, incoming_power_dbm
from sdn_client.drivers.light_watch import LightWatch
from sdn_client.topology import CrossConnect, load_topology
from timekeeping import FakeClock

LAB = load_topology(Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml")
CIRCUIT = [(5, 7), (17, 18)]


class Bench:
    """Readings of the emulated meters, into the watch."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.joined: list[tuple[int, int]] = []
        self.cut: set[int] = set()
        self.watch = LightWatch(
            LAB, "polatis-1", self.clock, loss_of_light_dbm=-45, wait_to_restore_s=300
        )

    def read(self, times: int = 1) -> set[int]:
        passing = {a: b for pair in self.joined for a, b in (pair, pair[::-1])}
        powers = incoming_power_dbm(LAB, "polatis-1", passing, self.cut)
        table = [CrossConnect("polatis-1", a, b) for a, b in self.joined]
        for _ in range(times):
            dark = self.watch.judge(powers, table)
        return set(dark)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_idle_network_is_not_dark(bench: Bench) -> None:
    assert bench.read(5) == set()


def test_a_lit_circuit_is_not_dark(bench: Bench) -> None:
    bench.joined = CIRCUIT
    assert bench.read(5) == set()


def test_a_lost_end_point_fibre_is_seen_at_the_second_reading(bench: Bench) -> None:
    bench.cut = {18}
    assert bench.read() == set()
    assert bench.read() == {18}
    bench.cut = set()
    assert bench.read() == set()


def test_a_lost_jumper_is_seen_where_light_should_come_out_of_it(bench: Bench) -> None:
    bench.cut = {7, 17}
    assert bench.read(5) == set()  # nothing should come
    bench.joined = CIRCUIT
    assert bench.read(2) == {7, 17}


def test_a_jumper_stays_dark_for_a_while_when_its_circuit_went(bench: Bench) -> None:
    bench.cut, bench.joined = {7, 17}, CIRCUIT
    assert bench.read(2) == {7, 17}
    bench.joined = []
    bench.clock.advance(299)
    assert bench.read() == {7, 17}
    bench.clock.advance(2)
    assert bench.read() == set()  # worth another try
    bench.joined = CIRCUIT
    assert bench.read(2) == {7, 17}


def test_a_quantum_fibre_is_never_judged(bench: Bench) -> None:
    bench.cut, bench.joined = {1, 2, 3, 4}, [(1, 2)]
    assert bench.read(5) == set()


def test_ports_without_a_meter_are_not_judged(bench: Bench) -> None:
    assert bench.watch.judge({}, []) == frozenset()


def test_the_emulated_meters_lose_what_the_light_loses() -> None:
    passing = {5: 7, 7: 5, 17: 18, 18: 17}
    powers = incoming_power_dbm(LAB, "polatis-1", passing, set())
    assert powers[5] == -1.0
    assert powers[17] == pytest.approx(-1 - 1.548 - 0.002, abs=0.01)
    assert powers[18] == -2.0
    assert powers[7] == pytest.approx(-2 - 1.548 - 0.002, abs=0.01)
    assert powers[8] == FLOOR_DBM
    assert powers[2] == FLOOR_DBM
    assert incoming_power_dbm(LAB, "polatis-1", passing, {7, 17})[17] == FLOOR_DBM
