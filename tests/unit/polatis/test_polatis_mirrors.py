"""The table of the emulated switch: exclusive ports, motion, all or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from emulators.polatis.mirrors import Mirrors, Refusal, Why
from sdn_client.topology import load_topology
from timekeeping import FakeClock

LAB = load_topology(Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def mirrors(clock: FakeClock) -> Mirrors:
    return Mirrors(LAB, "polatis-1", clock)


def pairs(mirrors: Mirrors) -> list[tuple[int, int]]:
    return [j.pair for j in mirrors.passing()]


def test_light_passes_when_the_mirrors_settled(mirrors: Mirrors, clock: FakeClock) -> None:
    assert mirrors.connect([(1, 2)]) == [1, 2]
    clock.advance(0.0249)
    assert pairs(mirrors) == []
    assert mirrors.joined() == [(1, 2)]
    clock.advance(0.0002)
    assert pairs(mirrors) == [(1, 2)]
    assert mirrors.motion_left_s() == 0


def test_pairs_of_one_batch_move_together(mirrors: Mirrors, clock: FakeClock) -> None:
    for n in range(1, 9):
        mirrors.connect([(n, 17 - n)])
    assert mirrors.motion_left_s() == pytest.approx(0.025)
    clock.advance(0.026)
    assert len(pairs(mirrors)) == 8


def test_parting_is_dark_at_once_and_frees_the_ports(mirrors: Mirrors, clock: FakeClock) -> None:
    mirrors.connect([(1, 2)])
    clock.advance(1)
    assert mirrors.disconnect([(2, 1)]) == [1, 2]
    assert pairs(mirrors) == []
    mirrors.connect([(1, 3)])
    clock.advance(0.026)
    assert pairs(mirrors) == [(1, 3)]


def test_what_is_so_already_moves_nothing(mirrors: Mirrors, clock: FakeClock) -> None:
    mirrors.connect([(1, 2)])
    clock.advance(1)
    assert mirrors.connect([(1, 2)]) == []
    assert mirrors.connect([(2, 1)]) == []
    assert mirrors.disconnect([(3, 4)]) == []
    assert mirrors.motion_left_s() == 0
    assert pairs(mirrors) == [(1, 2)]


@pytest.mark.parametrize(
    ("batch", "why"),
    [
        ([(3, 4), (1, 5)], Why.PORT_IN_USE),
        ([(3, 4), (4, 6)], Why.PORT_IN_USE),
        ([(3, 4), (6, 6)], Why.NO_FIT),
        ([(3, 4), (6, 33)], Why.NO_SUCH_PORT),
        ([(3, 4), (0, 6)], Why.NO_SUCH_PORT),
        ([(3, 4), (6, 17)], Why.TWO_PARTITIONS),
        ([(3, 4), (29, 30)], Why.TWO_PARTITIONS),
    ],
)
def test_a_refused_batch_changes_nothing(
    mirrors: Mirrors, batch: list[tuple[int, int]], why: Why
) -> None:
    mirrors.connect([(1, 2)])
    with pytest.raises(Refusal) as caught:
        mirrors.connect(batch)
    assert caught.value.why is why
    assert mirrors.joined() == [(1, 2)]


def test_parting_a_port_from_another_pair_is_refused(mirrors: Mirrors) -> None:
    mirrors.connect([(1, 2), (3, 4)])
    with pytest.raises(Refusal) as caught:
        mirrors.disconnect([(3, 4), (1, 5)])
    assert caught.value.why is Why.NOT_JOINED
    assert mirrors.joined() == [(1, 2), (3, 4)]


def test_replacing_all_keeps_the_light_of_what_stays(mirrors: Mirrors, clock: FakeClock) -> None:
    mirrors.connect([(1, 2), (3, 4)])
    clock.advance(1)
    assert mirrors.replace([(2, 1), (3, 5)]) == [3, 4, 5]
    assert pairs(mirrors) == [(1, 2)]
    clock.advance(0.026)
    assert pairs(mirrors) == [(1, 2), (3, 5)]


@pytest.mark.parametrize("batch", [[(1, 2), (2, 3)], [(1, 3), (6, 17)], [(5, 5)], [(1, 99)]])
def test_a_refused_replacement_changes_nothing(
    mirrors: Mirrors, clock: FakeClock, batch: list[tuple[int, int]]
) -> None:
    mirrors.connect([(1, 2)])
    clock.advance(1)
    with pytest.raises(Refusal):
        mirrors.replace(batch)
    assert pairs(mirrors) == [(1, 2)]


class AnyOrder(RuleBasedStateMachine):
    """Whatever is asked, a port is in one pair at most and partitions are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.mirrors = Mirrors(LAB, "polatis-1", self.clock)
        self.expected: set[frozenset[int]] = set()

    batches = st.lists(st.tuples(st.integers(0, 34), st.integers(0, 34)), max_size=4)

    @rule(batch=batches)
    def connect(self, batch: list[tuple[int, int]]) -> None:
        try:
            self.mirrors.connect(batch)
        except Refusal:
            return
        self.expected |= {frozenset(pair) for pair in batch}

    @rule(batch=batches)
    def disconnect(self, batch: list[tuple[int, int]]) -> None:
        try:
            self.mirrors.disconnect(batch)
        except Refusal:
            return
        self.expected -= {frozenset(pair) for pair in batch}

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.025, 1]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def ports_are_exclusive(self) -> None:
        ports = [port for pair in self.mirrors.joined() for port in pair]
        assert len(ports) == len(set(ports))

    @invariant()
    def what_was_accepted_is_so(self) -> None:
        assert {frozenset(pair) for pair in self.mirrors.joined()} == self.expected

    @invariant()
    def partitions_are_kept(self) -> None:
        for a, b in self.mirrors.joined():
            assert any({a, b} <= switch.ports for switch in LAB.virtual_switches)

    @invariant()
    def still_mirrors_pass_light(self) -> None:
        passing = {j.pair for j in self.mirrors.passing()}
        assert passing <= set(self.mirrors.joined())
        if self.mirrors.motion_left_s() == 0:
            assert passing == set(self.mirrors.joined())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
