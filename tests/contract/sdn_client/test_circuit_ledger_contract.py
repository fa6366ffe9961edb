"""What every circuit ledger promises: in memory, on SQLite, on MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from database import open_engine
from orchestrator.network.ledger import SqlCircuitLedger
from orchestrator.network.tables import migrate_network
from sdn_client.ledger import (
    Circuit,
    CircuitLedger,
    CircuitState,
    MemoryCircuitLedger,
    Purpose,
    Waiting,
)
from sdn_client.paths import LightPath
from sdn_client.topology import BandwidthClass, CrossConnect, LightKind

NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


def circuit(*pairs: tuple[int, int], minute: int = 0, chassis: str = "polatis-1") -> Circuit:
    return Circuit(
        uuid4(),
        Purpose.IMAGE_TRANSFER,
        "co-1",
        "dc-3",
        tuple(CrossConnect(chassis, a, b) for a, b in pairs),
        25.01,
        8.098,
        NOON + timedelta(minutes=minute),
    )


def waiting(owner: str, second: int = 0, to: str = "dc-1") -> Waiting:
    when = NOON + timedelta(seconds=second)
    return Waiting(owner, Purpose.IMAGE_TRANSFER, "node-1", to, when)


def path(*pairs: tuple[int, int]) -> LightPath:
    crosses = tuple(CrossConnect("polatis-1", a, b) for a, b in pairs)
    return LightPath("co-1", "dc-3", LightKind.CLASSICAL, crosses, (), 1.5, 3.25, 3.0)


class LedgerContract:
    def test_a_circuit_comes_back_as_it_went_in(self, ledger: CircuitLedger) -> None:
        c = circuit((9, 5), (25, 26))
        expected = replace(c, owners=("op-1",))
        assert ledger.add(c, "op-1") == expected
        assert ledger.circuits() == [expected]
        assert ledger.circuit_of("op-1") == expected
        assert ledger.circuit_of("op-2") is None

    def test_circuits_come_oldest_first(self, ledger: CircuitLedger) -> None:
        late, early = circuit((1, 2), minute=5), circuit((3, 4), minute=1)
        assert ledger.add(late, "op-1")
        assert ledger.add(early, "op-2")
        assert [c.id for c in ledger.circuits()] == [early.id, late.id]

    @pytest.mark.parametrize("pair", [(5, 9), (5, 6), (8, 9), (9, 10)])
    def test_a_taken_port_is_refused_and_nothing_changes(
        self, ledger: CircuitLedger, pair: tuple[int, int]
    ) -> None:
        ledger.add(circuit((5, 9)), "op-1")
        before = ledger.circuits()
        ledger.wait(waiting("op-2"))
        assert not ledger.add(circuit((30, 31), pair), "op-2")
        assert ledger.circuits() == before
        assert [w.owner for w in ledger.waiting()] == ["op-2"]
        assert ledger.add(circuit((30, 31)), "op-2")

    def test_the_same_port_of_another_chassis_is_free(self, ledger: CircuitLedger) -> None:
        assert ledger.add(circuit((5, 9)), "op-1")
        assert ledger.add(circuit((5, 9), chassis="polatis-2"), "op-2")

    def test_an_owner_has_one_circuit(self, ledger: CircuitLedger) -> None:
        first, second = circuit((1, 2)), circuit((3, 4))
        assert ledger.add(first, "op-1")
        assert not ledger.add(second, "op-1")
        assert ledger.add(second, "op-2")
        assert not ledger.join(second.id, "op-1")
        found = ledger.circuit_of("op-1")
        assert found is not None
        assert found.id == first.id

    def test_the_last_owners_leaving_begins_the_release(self, ledger: CircuitLedger) -> None:
        c = circuit((1, 2))
        ledger.add(c, "op-1")
        ledger.move(c.id, [CircuitState.RESERVED], CircuitState.ESTABLISHING)
        assert ledger.join(c.id, "op-2")
        third = ledger.join(c.id, "op-3")
        assert third is not None
        assert third.owners == ("op-1", "op-2", "op-3")
        left = ledger.leave("op-1")
        assert left is not None
        assert (left.state, left.owners) == (CircuitState.ESTABLISHING, ("op-2", "op-3"))
        ledger.leave("op-3")
        left = ledger.leave("op-2")
        assert left is not None
        assert (left.state, left.owners) == (CircuitState.RELEASING, ())
        assert ledger.leave("op-2") is None
        assert not ledger.join(c.id, "op-4")

    def test_what_the_switch_was_never_asked_for_is_gone_with_its_last_owner(
        self, ledger: CircuitLedger
    ) -> None:
        c = circuit((1, 2))
        ledger.add(c, "op-1")
        assert ledger.join(c.id, "op-2")
        ledger.leave("op-1")
        left = ledger.leave("op-2")
        assert left is not None
        assert (left.state, left.owners) == (CircuitState.RESERVED, ())
        assert ledger.circuits() == []
        assert not ledger.remove(c.id)
        assert ledger.add(circuit((1, 2)), "op-3")

    def test_ports_stay_taken_until_the_circuit_is_removed(self, ledger: CircuitLedger) -> None:
        c = circuit((1, 2), (3, 4))
        ledger.add(c, "op-1")
        ledger.move(c.id, [CircuitState.RESERVED], CircuitState.ESTABLISHING)
        assert not ledger.remove(c.id)
        ledger.leave("op-1")
        assert not ledger.add(circuit((1, 2)), "op-2")
        assert ledger.remove(c.id)
        assert not ledger.remove(c.id)
        assert ledger.circuits() == []
        assert ledger.add(circuit((1, 2)), "op-2")

    def test_states_move_by_compare_and_set(self, ledger: CircuitLedger) -> None:
        c = circuit((1, 2))
        ledger.add(c, "op-1")
        assert not ledger.move(c.id, [CircuitState.ESTABLISHING], CircuitState.UP)
        assert ledger.move(c.id, [CircuitState.RESERVED], CircuitState.ESTABLISHING)
        assert ledger.move(c.id, [CircuitState.ESTABLISHING], CircuitState.UP, NOON)
        # From a state to itself is a test of the state: it counts as moved.
        assert ledger.move(c.id, [CircuitState.UP], CircuitState.UP)
        (now,) = ledger.circuits()
        assert (now.state, now.established_at) == (CircuitState.UP, NOON)
        assert not ledger.move(uuid4(), list(CircuitState), CircuitState.UP)

    def test_holds_end_when_they_say(self, ledger: CircuitLedger) -> None:
        c = replace(circuit((1, 2)), bandwidth_class=BandwidthClass.G10)
        later = NOON + timedelta(hours=1)
        added = ledger.add(c, "op-1", later)
        assert added is not None
        joined = ledger.join(c.id, "op-2", NOON)
        assert joined is not None
        assert dict(joined.until) == {"op-1": later, "op-2": NOON}
        assert ledger.join(c.id, "op-3") is not None
        left = ledger.leave("op-1")
        assert left is not None
        assert (left.owners, dict(left.until)) == (("op-2", "op-3"), {"op-2": NOON})
        assert ledger.circuits() == [left]
        assert left.bandwidth_class is BandwidthClass.G10

    def test_a_circuit_takes_another_path_whole_or_not(self, ledger: CircuitLedger) -> None:
        c, other = circuit((5, 9), (25, 26)), circuit((10, 11), minute=1)
        ledger.add(c, "op-1")
        ledger.add(other, "op-2")
        before = ledger.circuits()
        assert ledger.reroute(c.id, path((5, 10), (26, 27))) is None
        assert ledger.circuits() == before
        moved = ledger.reroute(c.id, path((5, 12), (26, 27)))
        assert moved is not None
        assert moved.state is CircuitState.RESERVED
        assert moved.cross_connects == path((5, 12), (26, 27)).cross_connects
        assert (moved.km, moved.loss_db, moved.owners) == (1.5, 3.25, ("op-1",))
        assert ledger.circuit_of("op-1") == moved
        assert ledger.add(circuit((9, 25), minute=2), "op-3")  # the old ports are free
        assert not ledger.add(circuit((12, 30), minute=3), "op-4")  # the new ones are taken

    def test_what_was_up_has_to_be_made_again_elsewhere(self, ledger: CircuitLedger) -> None:
        c = circuit((1, 2))
        ledger.add(c, "op-1")
        ledger.move(c.id, [CircuitState.RESERVED], CircuitState.ESTABLISHING)
        ledger.move(c.id, [CircuitState.ESTABLISHING], CircuitState.UP, NOON)
        moved = ledger.reroute(c.id, path((1, 3)))
        assert moved is not None
        assert moved.state is CircuitState.ESTABLISHING
        ledger.leave("op-1")
        assert ledger.reroute(c.id, path((1, 4))) is None
        assert ledger.reroute(uuid4(), path((7, 8))) is None

    def test_ports_of_a_path_that_may_still_pass_light_stay_taken(
        self, ledger: CircuitLedger
    ) -> None:
        c = replace(circuit((5, 9), (25, 26)), state=CircuitState.ESTABLISHING)
        ledger.add(c, "op-1")
        assert ledger.reroute(c.id, path((5, 10), (26, 27)))
        assert not ledger.add(circuit((9, 30), minute=1), "op-2")
        other = circuit((30, 31), minute=1)
        assert ledger.add(other, "op-2")
        assert ledger.reroute(other.id, path((25, 30))) is None
        ledger.let_go(c.id, "another-chassis")
        assert not ledger.add(circuit((9, 32), minute=1), "op-3")
        ledger.let_go(c.id, "polatis-1")
        assert ledger.add(circuit((9, 25), minute=1), "op-3")
        assert not ledger.add(circuit((10, 32), minute=1), "op-4")  # of its path now
        ledger.let_go(uuid4())

    def test_what_was_kept_is_free_when_the_circuit_is_gone(self, ledger: CircuitLedger) -> None:
        c = replace(circuit((5, 9)), state=CircuitState.ESTABLISHING)
        ledger.add(c, "op-1")
        assert ledger.reroute(c.id, path((5, 10)))
        assert ledger.reroute(c.id, path((5, 9)))  # back again: its own ports are no hindrance
        assert ledger.reroute(c.id, path((5, 12)))
        ledger.leave("op-1")
        assert ledger.remove(c.id)
        assert ledger.add(circuit((9, 10), (5, 12)), "op-2")

    def test_the_queue_is_first_come_first_served(self, ledger: CircuitLedger) -> None:
        for owner, second in (("b", 2), ("a", 1), ("c", 1)):
            ledger.wait(waiting(owner, second))
        assert [w.owner for w in ledger.waiting()] == ["a", "c", "b"]

    def test_asking_again_keeps_the_place_and_asking_for_another_does_not(
        self, ledger: CircuitLedger
    ) -> None:
        first = ledger.wait(waiting("a", 1))
        assert ledger.wait(waiting("a", 9)) == first
        assert ledger.waiting() == [first]
        other = waiting("a", 9, to="dc-2")
        assert ledger.wait(other) == other
        assert ledger.waiting() == [other]

    def test_who_gets_a_circuit_or_leaves_waits_no_longer(self, ledger: CircuitLedger) -> None:
        c = circuit((1, 2))
        for owner in ("a", "b", "c"):
            ledger.wait(waiting(owner))
        ledger.add(c, "a")
        ledger.join(c.id, "b")
        assert [w.owner for w in ledger.waiting()] == ["c"]
        assert ledger.leave("c") is None
        assert ledger.waiting() == []

    def test_of_many_who_want_one_port_one_gets_it(self, ledger: CircuitLedger) -> None:
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda n: ledger.add(circuit((1, n)), f"op-{n}"), range(2, 18)))
        assert sum(circuit is not None for circuit in got) == 1
        assert len(ledger.circuits()) == 1

    def test_leaving_and_joining_never_cross(self, ledger: CircuitLedger) -> None:
        for round_ in range(8):
            c = circuit((1, 2))
            ledger.add(c, "first")
            ledger.move(c.id, [CircuitState.RESERVED], CircuitState.ESTABLISHING)
            with ThreadPoolExecutor(2) as pool:
                left = pool.submit(ledger.leave, "first")
                joined = pool.submit(ledger.join, c.id, "second")
                left.result()
                has_joined = joined.result() is not None
            (now,) = ledger.circuits()
            expected = CircuitState.ESTABLISHING if has_joined else CircuitState.RELEASING
            assert (now.state, bool(now.owners)) == (expected, has_joined), round_
            ledger.leave("second")
            assert ledger.remove(c.id)


class TestMemoryLedger(LedgerContract):
    @pytest.fixture
    def ledger(self) -> CircuitLedger:
        return MemoryCircuitLedger()


class TestSqlLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, database_url: str) -> Iterator[CircuitLedger]:
        engine = open_engine(database_url)
        migrate_network(engine)
        migrate_network(engine)  # safe at every start
        yield SqlCircuitLedger(engine)
        engine.dispose()
