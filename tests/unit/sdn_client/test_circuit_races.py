"""Two threads with one circuit, each step put where it hurts; and work that was left half done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from sdn_client.circuits import CircuitService, Reservation
from sdn_client.drivers.fake import FakeCircuitDriver, Fault
from sdn_client.errors import NotAdoptable, SdnError, SwitchRefused, UnknownName
from sdn_client.ledger import Circuit, CircuitState, MemoryCircuitLedger, Purpose, Waiting
from sdn_client.topology import CrossConnect, PortRef, Topology, parse_topology
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


class GatedDriver(FakeCircuitDriver):
    """Its batches wait for the gate."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.gate, self.asked = threading.Event(), threading.Event()
        self.gate.set()

    def apply(
        self,
        *,
        connect: Collection[CrossConnect] = (),
        disconnect: Collection[CrossConnect] = (),
    ) -> None:
        self.asked.set()
        assert self.gate.wait(5)
        super().apply(connect=connect, disconnect=disconnect)


class FailingLedger(MemoryCircuitLedger):
    """Fails as a database may, as often as told."""

    failures = 0

    def circuits(self) -> list[Circuit]:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database is away")
        return super().circuits()


class House:
    def __init__(self) -> None:
        self.topology = parse_topology(LAB + SECOND_JUMPER)
        self.clock = FakeClock()
        self.driver = GatedDriver(self.topology)
        self.ledger = FailingLedger()
        self.service = CircuitService(
            self.driver, self.topology, self.ledger, self.clock, reconnect_wait_s=0.05
        )
        self.upkeep = CircuitUpkeep(
            self.service, self.driver, self.topology, self.ledger, self.clock
        )


@pytest.fixture
def house() -> House:
    return House()


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def test_a_late_tear_down_spares_who_has_the_ports_by_now(house: House) -> None:
    house.service.connect("lab:1", "alice", "bob-1", TURN)
    left = house.ledger.leave("lab:1")  # its tear-down has not begun
    assert left is not None
    house.service.reconcile("polatis-1")  # and is done here
    after = house.service.connect("lab:2", "alice", "bob-1", TURN)
    assert house.service.programming.tear_down(left)
    assert house.driver.table == set(after.cross_connects)


def stopped_in_the_middle(house: House, work: Callable[[], object]) -> Callable[[], object]:
    """`work` in a process that is stopped before the switch acts; call the answer to let it go on.

    Its turn with the switch ended, and another process on the same ledger and switch has its own.
    """
    answers: list[object] = []

    def answer() -> None:
        try:
            answers.append(work())
        except SdnError as error:
            answers.append(error)

    house.driver.gate.clear()
    house.driver.asked.clear()
    thread = threading.Thread(target=answer)
    thread.start()
    assert house.driver.asked.wait(5)

    def go_on() -> object:
        house.driver.gate.set()
        thread.join(5)
        return answers[0]

    return go_on


@pytest.fixture
def another(house: House) -> CircuitService:
    """Another process at work on the same network."""
    driver = FakeCircuitDriver(house.topology)
    driver.table = house.driver.table
    return CircuitService(driver, house.topology, house.ledger, house.clock, reconnect_wait_s=0.05)


def test_what_is_joined_late_for_a_released_circuit_is_parted(
    house: House, another: CircuitService
) -> None:
    assert isinstance(house.service.reserve("lab:1", "alice", "bob-1", TURN), Reservation)
    go_on = stopped_in_the_middle(house, lambda: house.service.establish("lab:1"))
    assert another.release("lab:1")
    assert house.ledger.circuits() == []
    assert isinstance(go_on(), UnknownName)
    assert house.driver.table == set()


def test_what_is_parted_late_is_joined_again_for_who_has_the_ports_by_now(
    house: House, another: CircuitService
) -> None:
    house.service.connect("lab:1", "alice", "bob-1", TURN)
    go_on = stopped_in_the_middle(house, lambda: house.service.release("lab:1"))
    another.reconcile("polatis-1")
    after = another.connect("lab:2", "alice", "bob-1", TURN)
    assert go_on() is True
    assert house.driver.table == set(after.cross_connects)
    assert [c.owners for c in house.ledger.circuits()] == [("lab:2",)]


def test_a_circuit_is_made_over_the_path_that_it_has_by_now(house: House) -> None:
    answer = house.service.reserve("lab:1", "node-1", "dc-3", IMAGE)
    assert isinstance(answer, Reservation)
    house.driver.darken(PortRef("polatis-1", 25))
    (moved,) = house.upkeep.route_around_lost_ports()
    made = house.service.programming.make(answer.circuit)
    assert made.cross_connects == moved.cross_connects != answer.circuit.cross_connects
    assert house.driver.table == set(moved.cross_connects)


def test_a_fresh_circuit_too(house: House) -> None:
    wish = Waiting("lab:1", IMAGE, "node-1", "dc-3", house.clock.now())
    state = CircuitState.ESTABLISHING
    answer = house.service.allocation.take(wish, until=None, state=state)
    assert isinstance(answer, Reservation)
    house.driver.darken(PortRef("polatis-1", 25))
    (moved,) = house.upkeep.route_around_lost_ports()
    house.service.programming.make(answer.circuit, fresh=True)
    assert house.driver.table == set(moved.cross_connects)


def test_a_circuit_is_led_around_once(house: House) -> None:
    before = house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.driver.darken(PortRef("polatis-1", 25))
    assert house.service.lead_around(before) is not None
    batches = house.driver.batches
    house.driver.table.add(x(25, 26))  # whoever has them by now
    assert house.service.lead_around(before) is None
    assert house.driver.batches == batches
    assert x(25, 26) in house.driver.table


def test_a_circuit_whose_turn_has_not_come_is_no_drift(house: House) -> None:
    house.driver.gate.clear()
    ends = [("lab:1", "node-1", "dc-3", IMAGE), ("lab:2", "alice", "bob-1", TURN)]
    threads = [threading.Thread(target=house.service.connect, args=e) for e in ends]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(house.service.programming.at_work) == 2)
        (drift,) = house.upkeep.drift()
        assert drift.is_none
    finally:
        house.driver.gate.set()
        for thread in threads:
            thread.join(5)
    assert house.service.programming.at_work == frozenset()


def test_a_tear_down_that_was_refused_is_asked_again(house: House) -> None:
    house.service.connect("lab:1", "alice", "bob-1", TURN)
    house.driver.fail_next(Fault.REFUSE)
    assert not house.service.release("lab:1")
    house.upkeep.look()
    assert house.service.circuits() == []
    assert house.driver.table == set()


def test_a_move_that_was_refused_is_asked_again(house: House) -> None:
    house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.driver.darken(PortRef("polatis-1", 25))
    house.driver.fail_next(Fault.REFUSE)
    (drift,) = house.upkeep.look()
    (circuit,) = house.service.circuits()
    assert circuit.state is CircuitState.UP
    assert house.driver.table == set(circuit.cross_connects)
    assert drift.is_none


def test_the_watch_outlives_a_database_that_was_away(house: House) -> None:
    house.ledger.failures = 1
    house.upkeep.start()
    try:
        until(lambda: house.ledger.failures == 0)
        house.driver.table.add(x(2, 11))
        house.driver.darken(PortRef("polatis-1", 40))  # a word of the device
        until(lambda: house.upkeep.last_seen)
    finally:
        house.upkeep.close()
    (drift,) = house.upkeep.last_seen
    assert drift.stray == (x(2, 11),)


def test_a_patch_by_hand_is_adopted_at_once(house: House) -> None:
    before = house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    house.driver.table = {x(5, 10), x(27, 26)}  # the same ends over the other jumper
    adoption = house.upkeep.adopt("polatis-1", "adopted")
    assert adoption.given_up == (before.id,)
    assert len(adoption.adopted) == 1
    assert house.driver.table == {x(5, 10), x(27, 26)}
    (drift,) = house.upkeep.look()
    assert drift.is_none


def test_what_no_circuit_may_hold_is_not_adopted(house: House) -> None:
    house.driver.table = {x(5, 26)}  # two partitions, and both ends are classical
    with pytest.raises(NotAdoptable):
        house.upkeep.adopt("polatis-1", "adopted")
    assert house.service.circuits() == []


def test_who_waits_for_an_end_that_is_gone_keeps_nobody_from_asking(house: House) -> None:
    house.service.connect("lab:1", "node-1", "dc-3", IMAGE)
    early = house.clock.now()
    house.ledger.wait(Waiting("operation:1", IMAGE, "node-1", "dc-gone", early))
    house.clock.advance(1)
    assert isinstance(house.service.reserve("lab:2", "node-1", "dc-3", IMAGE), Reservation)


def test_a_refused_circuit_leaves_nobody_at_work(house: House) -> None:
    house.driver.fail_next(Fault.REFUSE)
    with pytest.raises(SwitchRefused):
        house.service.connect("lab:1", "alice", "bob-1", TURN)
    assert house.service.programming.at_work == frozenset()


def test_a_circuit_keeps_the_end_point_that_was_asked_for_where_it_can(house: House) -> None:
    house.service.connect("lab:1", "co-2", "dc-3", IMAGE)
    (before,) = house.service.circuits()
    house.driver.darken(before.cross_connects[1].ports[0])  # its jumper
    (moved,) = house.upkeep.route_around_lost_ports()
    assert moved.from_end_point == "co-2"
    assert set(moved.cross_connects) != set(before.cross_connects)


def test_a_watch_that_is_closed_between_two_looks_ends_at_once(house: House) -> None:
    class ClosedJustBefore(threading.Event):
        def clear(self) -> None:
            house.upkeep._closing = True
            self.set()
            super().clear()

    house.upkeep._woken = ClosedJustBefore()
    house.upkeep.start()
    house.upkeep._thread.join(2)
    assert not house.upkeep._thread.is_alive()


def test_a_circuit_that_comes_and_goes_within_one_reading_is_not_stray(house: House) -> None:
    read = house.driver.read_cross_connects

    def slowly(chassis: str) -> frozenset[CrossConnect]:
        house.driver.read_cross_connects = read  # type: ignore[method-assign]
        house.service.connect("lab:1", "alice", "bob-1", TURN)
        table = read(chassis)
        house.service.release("lab:1")
        return table

    house.driver.read_cross_connects = slowly  # type: ignore[method-assign]
    (drift,) = house.upkeep.drift()
    assert drift.is_none
