"""Drift in both directions, lost fibres, holds that end: over the fake switch."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from sdn_client.circuits import CircuitService, Reservation
from sdn_client.drivers.fake import FakeCircuitDriver, Fault
from sdn_client.errors import NotAdoptable, PortInUse, SwitchRefused, SwitchUnreachable
from sdn_client.ledger import Circuit, CircuitState, MemoryCircuitLedger, Purpose
from sdn_client.topology import BandwidthClass, CrossConnect, PortRef, parse_topology
from sdn_client.upkeep import CircuitUpkeep
from timekeeping import FakeClock

LAB = (Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml").read_text()
SECOND_JUMPER = """
[[fibres]]
name = "jumper-3b"
a = "polatis-1:10"
b = "polatis-1:27"
km = 0.01
kind = "classical"
"""
IMAGE, TURN = Purpose.IMAGE_TRANSFER, Purpose.QUANTUM_TURN


def x(a: int, b: int) -> CrossConnect:
    return CrossConnect("polatis-1", a, b)


def port(number: int) -> PortRef:
    return PortRef("polatis-1", number)


class House:
    def __init__(self, *, repair: str = "show") -> None:
        self.topology = parse_topology(LAB + SECOND_JUMPER)
        self.clock = FakeClock()
        self.driver = FakeCircuitDriver(self.topology)
        self.ledger = MemoryCircuitLedger()
        self.service = CircuitService(
            self.driver, self.topology, self.ledger, self.clock, reconnect_wait_s=0.05
        )
        self.upkeep = CircuitUpkeep(
            self.service,
            self.driver,
            self.topology,
            self.ledger,
            self.clock,
            repair=repair,  # type: ignore[arg-type]
        )


@pytest.fixture
def house() -> House:
    return House()


# --- connect at once


def test_connect_is_up_or_nothing(house: House) -> None:
    circuit = house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    assert (circuit.state, circuit.owners) == (CircuitState.UP, ("lab:1",))
    assert circuit.bandwidth_class is BandwidthClass.G10
    house.driver.fail_next(Fault.REFUSE)
    with pytest.raises(SwitchRefused):
        house.service.connect("lab:2", "alice", "bob-1", TURN)
    assert [c.id for c in house.service.circuits()] == [circuit.id]
    house.service.connect("lab:2", "alice", "bob-1", TURN)
    with pytest.raises(PortInUse, match="polatis-1:1"):
        house.service.connect("lab:3", "alice", "bob-2", TURN)
    assert house.service.waiting() == []


def test_a_hold_ends_by_itself(house: House) -> None:
    until = house.clock.now() + timedelta(seconds=60)
    house.service.connect("lab:1", "node-1", "dc-3", IMAGE, until=until)
    house.service.connect("lab:2", "node-1", "dc-3", IMAGE)
    house.clock.advance(59)
    assert house.upkeep.release_expired() == []
    house.clock.advance(1)
    assert house.upkeep.release_expired() == ["lab:1"]
    (left,) = house.service.circuits()
    assert (left.owners, dict(left.until)) == (("lab:2",), {})
    house.service.release("lab:2")
    assert house.driver.table == set()


# --- drift


def test_no_drift_while_devices_hold_what_is_owned(house: House) -> None:
    house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.service.reserve("lab:2", "alice", "bob-1", TURN)
    (drift,) = house.upkeep.look()
    assert drift.is_none


def test_drift_shows_what_is_stray_and_what_is_missing(house: House) -> None:
    circuit = house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.driver.table ^= {x(25, 26), x(2, 11)}
    (drift,) = house.upkeep.look()
    assert drift.stray == (x(2, 11),)
    assert drift.missing == ((x(25, 26), circuit.id),)
    assert house.upkeep.last_seen == (drift,)
    assert house.driver.table == {x(5, 9), x(2, 11)}  # shown, not touched


def test_reconcile_repairs_the_device(house: House) -> None:
    house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.driver.table ^= {x(25, 26), x(2, 11)}
    report = house.service.reconcile("polatis-1")
    assert (report.removed, report.remade) == ((x(2, 11),), (x(25, 26),))
    assert house.upkeep.look()[0].is_none


def test_a_watch_that_may_repair_does() -> None:
    house = House(repair="devices")
    house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.driver.table ^= {x(25, 26), x(2, 11)}
    assert house.upkeep.look()[0].is_none
    assert house.driver.table == {x(5, 9), x(25, 26)}


def test_adopt_repairs_the_records(house: House) -> None:
    lost = house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.driver.table = {x(5, 9), x(1, 3)}  # half of ours, and a turn of somebody else
    adoption = house.upkeep.adopt("polatis-1", "ann")
    assert adoption.given_up == (lost.id,)
    (circuit,) = house.service.circuits()
    assert adoption.adopted == (circuit.id,)
    assert (circuit.from_end_point, circuit.to_end_point) == ("alice", "bob-2")
    assert (circuit.state, circuit.km, circuit.loss_db) == (CircuitState.UP, 15, 4.548)
    assert circuit.owners == (f"ann:{circuit.id}",)
    assert house.driver.table == {x(1, 3)}
    assert house.upkeep.look()[0].is_none


def test_a_path_over_two_partitions_is_adopted_whole(house: House) -> None:
    house.driver.table = {x(6, 8), x(21, 22)}
    house.upkeep.adopt("polatis-1", "ann")
    (circuit,) = house.service.circuits()
    assert circuit.cross_connects == (x(6, 8), x(21, 22))
    assert circuit.bandwidth_class is BandwidthClass.G10


def test_what_leads_nowhere_is_not_adopted_and_nothing_changes(house: House) -> None:
    house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    before = house.service.circuits()
    house.driver.table = {x(5, 9), x(2, 11), x(1, 3)}
    with pytest.raises(NotAdoptable, match="polatis-1:2-11"):
        house.upkeep.adopt("polatis-1", "ann")
    assert house.service.circuits() == before


def test_a_chassis_that_is_away_is_said_to_be_unread(house: House) -> None:
    house.driver.lose("polatis-1")
    (drift,) = house.upkeep.look()
    assert "not connected" in drift.unread
    with pytest.raises(SwitchUnreachable):
        house.upkeep.adopt("polatis-1", "ann")


# --- lost fibres


def test_a_lost_fibre_leads_a_classical_circuit_around(house: House) -> None:
    circuit = house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    batches = house.driver.batches
    house.driver.darken(port(9), port(25))
    (moved,) = house.upkeep.route_around_lost_ports()
    assert moved.id == circuit.id
    assert moved.cross_connects == (x(5, 10), x(26, 27))
    assert house.driver.table == {x(5, 10), x(26, 27)}
    assert house.driver.batches == batches + 1  # out and in at once
    assert house.service.circuit_of("lab:1") == moved
    assert house.upkeep.look()[0].is_none


def test_a_reserved_circuit_moves_without_touching_the_switch(house: House) -> None:
    house.service.reserve("op-1", "node-1", "dc-3", IMAGE)
    house.driver.darken(port(9))
    (moved,) = house.upkeep.route_around_lost_ports()
    assert moved.state is CircuitState.RESERVED
    assert house.driver.table == set()
    assert house.service.establish("op-1").cross_connects == (x(5, 10), x(26, 27))


def test_without_another_way_a_circuit_stays_and_says_so(house: House) -> None:
    house.service.connect("lab:1", "node-1", "dc-1", IMAGE)
    house.driver.darken(port(18))
    assert house.upkeep.route_around_lost_ports() == []
    (drift,) = house.upkeep.drift()
    assert [at for at, _ in drift.lost] == [port(18)]
    assert house.service.loss_of_light("lab:1") == "the light is lost at polatis-1:18"
    house.driver.darken()
    assert house.service.loss_of_light("lab:1") is None


def test_a_turn_is_not_led_elsewhere_but_knows(house: House) -> None:
    turn = house.service.connect("turn:1", "alice", "bob-3", TURN)
    house.driver.darken(port(4))
    assert house.upkeep.route_around_lost_ports() == []
    assert house.service.circuit_of("turn:1") == turn
    assert house.service.loss_of_light("turn:1") == "the light is lost at polatis-1:4"


def test_nobody_shares_a_circuit_without_light(house: House) -> None:
    house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.driver.darken(port(9))
    other = house.service.reserve("lab:2", "node-1", "dc-3", IMAGE)
    assert not isinstance(other, Reservation)  # its only way in, port 26, is taken


def test_a_crash_after_the_move_was_recorded_is_put_right(house: House) -> None:
    house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.driver.darken(port(9))
    house.driver.fail_next(Fault.LOSE_BEFORE)
    assert house.upkeep.route_around_lost_ports() == []
    house.driver.come_back("polatis-1")
    house.service.start()
    assert house.driver.table == {x(5, 10), x(26, 27)}
    (circuit,) = house.service.circuits()
    assert circuit.state is CircuitState.UP


def test_a_path_that_may_still_pass_light_is_nobody_elses(house: House) -> None:
    house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.driver.darken(port(9))
    house.driver.fail_next(Fault.LOSE_BEFORE)  # nobody knows whether the switch did it
    assert house.upkeep.route_around_lost_ports() == []
    house.driver.darken()
    other = house.ledger.circuits()[0]
    lit = {p for x_ in house.driver.table for p in x_.ports}
    assert not any(house.ledger.add(c, "lab:2") for c in over_each(lit, other))
    house.driver.come_back("polatis-1")
    house.service.reconcile("polatis-1")
    assert house.driver.table == {x(5, 10), x(26, 27)}
    assert any(house.ledger.add(c, "lab:2") for c in over_each({port(9), port(25)}, other))


def over_each(ports: set[PortRef], like: Circuit) -> list[Circuit]:
    """A circuit over each of `ports` and one that nobody has."""
    return [
        replace(like, id=uuid4(), cross_connects=(x(p.port, 31),), owners=()) for p in sorted(ports)
    ]


# --- the watch


def test_the_watch_looks_at_every_word_of_a_device(house: House) -> None:
    circuit = house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    freed = threading.Event()
    house.service.on_release(freed.set)
    house.upkeep.start()
    try:
        house.driver.darken(port(9))
        assert freed.wait(10)
        assert house.service.circuits()[0].id == circuit.id
        assert house.driver.table == {x(5, 10), x(26, 27)}
    finally:
        house.upkeep.close()
