"""Circuits over the fake switch and the ledger in memory."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from sdn_client.circuits import CircuitService, NotFree, Reservation
from sdn_client.drivers.fake import FakeCircuitDriver, Fault
from sdn_client.errors import (
    KindsMixed,
    OutcomeUnknown,
    OwnerElsewhere,
    SwitchRefused,
    SwitchUnreachable,
    UnknownName,
)
from sdn_client.ledger import CircuitState, MemoryCircuitLedger, Purpose
from sdn_client.topology import CrossConnect, Topology, load_topology, parse_topology
from timekeeping import FakeClock

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"
IMAGE, TURN = Purpose.IMAGE_TRANSFER, Purpose.QUANTUM_TURN


def x(a: int, b: int) -> CrossConnect:
    return CrossConnect("polatis-1", a, b)


class House:
    """A network that can lose its orchestrator."""

    def __init__(self, topology: Topology | None = None) -> None:
        self.topology = topology or load_topology(LAB)
        self.clock = FakeClock()
        self.driver = FakeCircuitDriver(self.topology)
        self.ledger = MemoryCircuitLedger()
        self.service = self.new_service()

    def new_service(self) -> CircuitService:
        service = CircuitService(
            self.driver, self.topology, self.ledger, self.clock, reconnect_wait_s=0.05
        )
        service.start()
        self.service = service
        return service

    def up(self, owner: str, to: str) -> None:
        assert isinstance(self.service.reserve(owner, "node-1", to, IMAGE), Reservation)
        self.service.establish(owner)


@pytest.fixture
def house() -> House:
    return House()


# --- making and unmaking


def test_an_image_path_is_two_cross_connects_in_one_batch(house: House) -> None:
    reservation = house.service.reserve("op-1", "node-1", "dc-3", IMAGE)
    assert isinstance(reservation, Reservation)
    assert not reservation.shared
    assert house.driver.table == set()  # reserving asks no device
    circuit = house.service.establish("op-1")
    assert circuit.state is CircuitState.UP
    assert circuit.cross_connects == (x(5, 9), x(25, 26))
    assert circuit.established_at is not None
    assert house.driver.table == {x(5, 9), x(25, 26)}
    assert house.driver.batches == 1
    assert house.service.release("op-1")
    assert house.driver.table == set()
    assert house.service.circuits() == []


def test_a_turn_is_one_passage_within_the_budget(house: House) -> None:
    house.service.reserve("turn-1", "alice", "bob-3", TURN)
    circuit = house.service.establish("turn-1")
    assert circuit.cross_connects == (x(1, 4),)
    assert circuit.loss_db == pytest.approx(6.548)


def test_deployments_to_one_data_centre_share(house: House) -> None:
    house.up("op-1", "dc-1")
    second = house.service.reserve("op-2", "node-1", "dc-1", IMAGE)
    assert isinstance(second, Reservation)
    assert second.shared
    house.service.establish("op-2")
    assert house.driver.batches == 1
    house.service.release("op-1")
    assert len(house.driver.table) == 2
    house.service.release("op-2")
    assert house.driver.table == set()


def test_a_turn_is_never_shared(house: House) -> None:
    house.service.reserve("turn-1", "alice", "bob-1", TURN)
    answer = house.service.reserve("turn-2", "alice", "bob-1", TURN)
    assert isinstance(answer, NotFree)
    assert "polatis-1:1" in answer.reason


def test_every_step_can_be_asked_twice(house: House) -> None:
    first = house.service.reserve("op-1", "node-1", "dc-1", IMAGE)
    assert house.service.reserve("op-1", "node-1", "dc-1", IMAGE) == first
    house.service.establish("op-1")
    again = house.service.establish("op-1")
    assert again.state is CircuitState.UP
    assert house.service.release("op-1")
    assert house.service.release("op-1")
    assert house.service.release("nobody")


def test_an_owner_cannot_have_two_ways(house: House) -> None:
    house.up("op-1", "dc-1")
    with pytest.raises(OwnerElsewhere, match="dc-1"):
        house.service.reserve("op-1", "node-1", "dc-2", IMAGE)


def test_establishing_without_a_reservation_is_refused(house: House) -> None:
    with pytest.raises(UnknownName, match="op-9"):
        house.service.establish("op-9")


@pytest.mark.parametrize(
    ("from_", "to", "purpose"), [("alice", "dc-1", TURN), ("co-1", "bob-1", IMAGE)]
)
def test_quantum_and_classical_never_mix(
    house: House, from_: str, to: str, purpose: Purpose
) -> None:
    with pytest.raises(KindsMixed):
        house.service.reserve("op-1", from_, to, purpose)
    assert house.service.waiting() == []


def test_a_reserved_circuit_that_would_mix_after_the_file_changed_is_refused(house: House) -> None:
    house.service.reserve("op-1", "node-1", "dc-1", IMAGE)
    text = LAB.read_text().replace(
        'name = "jumper-1"\na = "polatis-1:7"\nb = "polatis-1:17"\nkm = 0.01\nkind = "classical"',
        'name = "jumper-1"\na = "polatis-1:7"\nb = "polatis-1:17"\nkm = 0.01\nkind = "quantum"',
    )
    house.topology = parse_topology(text)
    with pytest.raises(KindsMixed):
        house.new_service().establish("op-1")
    assert house.driver.table == set()


# --- waiting


def test_the_third_data_centre_waits_for_an_interface(house: House) -> None:
    house.up("op-1", "dc-1")
    house.up("op-2", "dc-2")
    woken: list[str] = []
    house.service.on_release(lambda: woken.append("now"))
    answer = house.service.reserve("op-3", "node-1", "dc-3", IMAGE)
    assert isinstance(answer, NotFree)
    assert "in use by circuit" in answer.reason
    assert [w.owner for w in house.service.waiting()] == ["op-3"]
    house.service.release("op-1")
    assert woken == ["now"]
    assert isinstance(house.service.reserve("op-3", "node-1", "dc-3", IMAGE), Reservation)
    assert house.service.waiting() == []


def test_the_queue_is_served_in_order_of_asking(house: House) -> None:
    house.up("op-1", "dc-1")
    house.service.reserve("turn-1", "alice", "bob-1", TURN)
    for owner in ("turn-2", "turn-3"):
        house.clock.advance(1)
        assert isinstance(house.service.reserve(owner, "alice", "bob-2", TURN), NotFree)
    house.service.release("turn-1")
    late = house.service.reserve("turn-3", "alice", "bob-2", TURN)
    assert isinstance(late, NotFree)
    assert late.ahead == 1
    assert "turn-2, who asked earlier" in late.reason
    assert isinstance(house.service.reserve("turn-2", "alice", "bob-2", TURN), Reservation)


def test_the_operations_own_time_decides_the_place(house: House) -> None:
    house.service.reserve("turn-1", "alice", "bob-1", TURN)
    now = house.clock.now()
    house.service.reserve("late", "alice", "bob-2", TURN, requested_at=now)
    early = now - timedelta(hours=1)
    house.service.reserve("early", "alice", "bob-3", TURN, requested_at=early)
    house.service.release("turn-1")
    assert isinstance(house.service.reserve("late", "alice", "bob-2", TURN), NotFree)
    assert isinstance(house.service.reserve("early", "alice", "bob-3", TURN), Reservation)


def test_giving_up_makes_room_and_tells(house: House) -> None:
    house.service.reserve("turn-1", "alice", "bob-1", TURN)
    house.service.reserve("turn-2", "alice", "bob-2", TURN)
    house.clock.advance(1)
    house.service.reserve("turn-3", "alice", "bob-3", TURN)
    house.service.release("turn-1")
    woken: list[str] = []
    house.service.on_release(lambda: woken.append("now"))
    house.service.release("turn-2")
    assert woken
    assert isinstance(house.service.reserve("turn-3", "alice", "bob-3", TURN), Reservation)


def test_who_waits_for_something_else_keeps_nobody_waiting(house: House) -> None:
    house.service.reserve("turn-1", "alice", "bob-1", TURN)
    house.service.reserve("turn-2", "alice", "bob-2", TURN)
    house.clock.advance(1)
    assert isinstance(house.service.reserve("op-1", "node-1", "dc-1", IMAGE), Reservation)


def test_an_endless_row_of_sharers_does_not_starve_who_waits(house: House) -> None:
    house.up("op-1", "dc-1")
    house.up("op-2", "dc-2")
    assert isinstance(house.service.reserve("op-3", "node-1", "dc-3", IMAGE), NotFree)
    house.clock.advance(1)
    assert isinstance(house.service.reserve("op-4", "node-1", "dc-1", IMAGE), NotFree)
    house.service.release("op-1")
    assert isinstance(house.service.reserve("op-4", "node-1", "dc-1", IMAGE), NotFree)
    assert isinstance(house.service.reserve("op-3", "node-1", "dc-3", IMAGE), Reservation)


# --- trouble


def test_a_refusal_leaves_the_switch_dark_and_the_ports_reserved(house: House) -> None:
    house.service.reserve("op-1", "node-1", "dc-1", IMAGE)
    house.driver.fail_next(Fault.REFUSE)
    with pytest.raises(SwitchRefused):
        house.service.establish("op-1")
    assert house.driver.table == set()
    assert house.service.establish("op-1").state is CircuitState.UP


def test_stale_light_in_the_way_is_removed_and_the_circuit_made(house: House) -> None:
    house.service.reserve("op-1", "node-1", "dc-1", IMAGE)
    house.driver.table.add(x(5, 12))
    assert house.service.establish("op-1").state is CircuitState.UP
    assert house.driver.table == {x(5, 7), x(17, 18)}


@pytest.mark.parametrize("fault", [Fault.LOSE_BEFORE, Fault.LOSE_AFTER])
def test_an_unknown_outcome_is_resolved_when_the_switch_is_back(house: House, fault: Fault) -> None:
    house.service.reserve("op-1", "node-1", "dc-1", IMAGE)
    house.driver.fail_next(fault)
    house.driver.subscribe(
        lambda event: None if event.connected else house.driver.come_back(event.chassis)
    )
    assert house.service.establish("op-1").state is CircuitState.UP
    assert house.driver.table == {x(5, 7), x(17, 18)}


@pytest.mark.parametrize("fault", [Fault.LOSE_BEFORE, Fault.LOSE_AFTER])
def test_a_switch_that_stays_away_is_an_error_and_release_is_finished_later(
    house: House, fault: Fault
) -> None:
    house.service.reserve("op-1", "node-1", "dc-1", IMAGE)
    house.driver.fail_next(fault)
    with pytest.raises(OutcomeUnknown):
        house.service.establish("op-1")
    assert not house.service.release("op-1")
    (left,) = house.service.circuits()
    assert left.state is CircuitState.RELEASING
    woken: list[str] = []
    house.service.on_release(lambda: woken.append("now"))
    house.driver.come_back("polatis-1")
    assert house.driver.table == set()
    assert house.service.circuits() == []
    assert woken


def test_an_unreachable_switch_is_said(house: House) -> None:
    house.driver.lose("polatis-1")
    house.service.reserve("op-1", "node-1", "dc-1", IMAGE)
    with pytest.raises(SwitchUnreachable, match="polatis-1"):
        house.service.establish("op-1")


def test_a_switch_that_lost_its_table_gets_back_what_is_owned(house: House) -> None:
    house.up("op-1", "dc-1")
    house.service.reserve("turn-1", "alice", "bob-1", TURN)
    house.service.establish("turn-1")
    before = set(house.driver.table)
    house.driver.lose("polatis-1", forget=True)
    assert house.driver.table == set()
    house.driver.come_back("polatis-1")
    assert house.driver.table == before


def test_what_nobody_owns_is_removed_at_the_start(house: House) -> None:
    house.up("op-1", "dc-1")
    house.driver.table |= {x(10, 11), x(27, 28)}
    house.new_service()
    assert house.driver.table == {x(5, 7), x(17, 18)}
    report = house.service.reconcile("polatis-1")
    assert (report.removed, report.remade) == ((), ())


def test_a_circuit_over_two_chassis_is_released_when_both_are_back() -> None:
    house = House(
        parse_topology(
            """
            nodes = [{name = "n1"}, {name = "n2"}]
            chassis = [{name = "left", datapath_id = 1, ports = 4},
                       {name = "right", datapath_id = 2, ports = 4}]
            virtual_switches = [
              {name = "vs-1", chassis = "left", owner = "n1", ports = ["1-4"]},
              {name = "vs-2", chassis = "right", owner = "n2", ports = ["1-4"]}]
            end_points = [{name = "a", node = "n1", kind = "classical", port = "left:1"},
                          {name = "b", node = "n2", kind = "classical", port = "right:1"}]
            fibres = [{name = "f", a = "left:2", b = "right:2", km = 40, kind = "classical"}]
            """
        )
    )
    house.service.reserve("op-1", "a", "b", IMAGE)
    house.service.establish("op-1")
    assert {c.chassis for c in house.driver.table} == {"left", "right"}
    house.driver.lose("right")
    assert not house.service.release("op-1")
    house.driver.lose("left")
    house.driver.come_back("right")
    assert house.service.circuits() != []  # the left half is still lit
    house.driver.come_back("left")
    assert house.service.circuits() == []
    assert house.driver.table == set()


class Killed(Exception):
    """Stands for kill -9: nothing after it happens."""


@pytest.mark.parametrize("at", range(1, 10))
def test_killed_at_any_write_of_the_ledger_or_the_switch(at: int) -> None:
    """Dies at the n-th write, before or after it took effect; the next process puts it right."""
    for after in (False, True):
        house = House()
        doomed = house.service
        left = at

        def mortal(call, after=after):  # type: ignore[no-untyped-def]
            def wrapped(*args, **kwargs):  # type: ignore[no-untyped-def]
                nonlocal left
                left -= 1
                if left == 0 and not after:
                    raise Killed
                result = call(*args, **kwargs)
                if left == 0:
                    raise Killed
                return result

            return wrapped

        originals = {}
        for thing, name in (
            (house.ledger, "wait"),
            (house.ledger, "add"),
            (house.ledger, "move"),
            (house.ledger, "leave"),
            (house.ledger, "remove"),
            (house.driver, "apply"),
        ):
            originals[(thing, name)] = getattr(thing, name)
            setattr(thing, name, mortal(getattr(thing, name)))
        try:
            doomed.reserve("op-1", "node-1", "dc-1", IMAGE)
            doomed.establish("op-1")
            doomed.release("op-1")
            died = False
        except Killed:
            died = True
        assert died is (at <= 7)  # add, move, apply, move, leave, apply, remove
        doomed.close()
        for (thing, name), original in originals.items():
            setattr(thing, name, original)

        service = house.new_service()
        owned = {c for circuit in service.circuits() for c in circuit.cross_connects}
        assert house.driver.table <= owned
        assert all(c.state is not CircuitState.RELEASING for c in service.circuits())
        # The operation goes on ...
        assert isinstance(service.reserve("op-1", "node-1", "dc-1", IMAGE), Reservation)
        assert service.establish("op-1").state is CircuitState.UP
        assert house.driver.table == {x(5, 7), x(17, 18)}
        # ... and its end leaves nothing.
        assert service.release("op-1")
        assert (house.driver.table, service.circuits(), service.waiting()) == (set(), [], [])


def test_what_was_never_sent_to_the_switch_is_released_without_it(house: House) -> None:
    house.driver.lose("polatis-1")
    house.service.reserve("turn-1", "alice", "bob-1", TURN)
    with pytest.raises(SwitchUnreachable):
        house.service.establish("turn-1")
    assert house.service.release("turn-1")
    assert house.service.circuits() == []
    with pytest.raises(SwitchUnreachable):
        house.service.connect("lab:1", "alice", "bob-2", TURN)
    assert house.service.circuits() == []


def test_what_may_have_reached_the_switch_waits_for_it(house: House) -> None:
    house.service.reserve("turn-1", "alice", "bob-1", TURN)
    house.driver.fail_next(Fault.LOSE_AFTER)
    with pytest.raises((OutcomeUnknown, SwitchUnreachable)):
        house.service.establish("turn-1")
    assert not house.service.release("turn-1")
    house.driver.come_back("polatis-1")
    assert house.driver.table == set()
    assert house.service.circuits() == []
