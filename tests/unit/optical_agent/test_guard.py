"""Light of two kinds may pass one fibre for both, and never at once."""

from __future__ import annotations

import pytest

from sdn_client.drivers.fake import FakeCircuitDriver
from sdn_client.openflow13.constants import FlowModFailed
from sdn_client.optical_agent.flows import Join
from sdn_client.optical_agent.guard import Guard
from sdn_client.optical_agent.presented import present
from sdn_client.optical_agent.refusal import Refusal
from sdn_client.optical_agent.table import FlowTable
from sdn_client.topology import CrossConnect, parse_topology
from timekeeping import FakeClock

TOPOLOGY = """
nodes = [{name = "centre", role = "central"}, {name = "site"}]
chassis = [{name = "s", datapath_id = 1, ports = 8}]
virtual_switches = [
  {name = "v1", chassis = "s", owner = "centre", ports = ["1-4"]},
  {name = "v2", chassis = "s", owner = "site", ports = ["5-8"]},
]
fibres = [{name = "trunk", a = "s:3", b = "s:5", km = 1, kind = "both"}]
end_points = [
  {name = "alice", node = "centre", kind = "quantum", port = "s:1"},
  {name = "server", node = "centre", kind = "classical", port = "s:2"},
  {name = "bob", node = "site", kind = "quantum", port = "s:6"},
  {name = "dc", node = "site", kind = "classical", port = "s:7"},
]
"""


def x(a: int, b: int) -> CrossConnect:
    return CrossConnect("s", a, b)


@pytest.fixture
def guard() -> Guard:
    topology = parse_topology(TOPOLOGY)
    return Guard(topology, present(topology, "s", None))


@pytest.mark.parametrize(("first", "second"), [(x(1, 3), x(5, 6)), (x(2, 3), x(5, 7))])
def test_one_kind_of_light_passes_the_trunk(
    guard: Guard, first: CrossConnect, second: CrossConnect
) -> None:
    for a, b in ((first, second), (second, first)):
        guard.check(a)
        guard.check(b, [a])
        guard.check(b, [a, b])  # again


@pytest.mark.parametrize(("first", "second"), [(x(2, 3), x(5, 6)), (x(1, 3), x(5, 7))])
def test_two_kinds_never_meet_over_the_trunk(
    guard: Guard, first: CrossConnect, second: CrossConnect
) -> None:
    for a, b in ((first, second), (second, first)):
        guard.check(a)
        with pytest.raises(Refusal, match="into each other") as refused:
            guard.check(b, [a])
        assert refused.value.code is FlowModFailed.PERMISSION


def test_light_that_runs_in_a_circle_is_followed_once() -> None:
    topology = parse_topology(
        TOPOLOGY.replace(
            "fibres = [", 'fibres = [{name = "back", a = "s:4", b = "s:8", km = 1, kind = "both"}, '
        )
    )
    Guard(topology, present(topology, "s", None)).check(x(5, 8), [x(3, 4)])


def test_the_table_asks_with_what_it_holds_and_with_what_goes_before_in_a_batch() -> None:
    topology = parse_topology(TOPOLOGY)
    presented = present(topology, "s", None)
    device = FakeCircuitDriver(topology)
    table = FlowTable(device, presented, Guard(topology, presented), FakeClock())
    server, bob = Join(2, 3, 100, 0, 0), Join(5, 6, 100, 0, 0)
    assert [o.refusal is None for o in table.run([server, bob])] == [True, False]
    assert [o.refusal is None for o in table.run([bob])] == [False]
    assert device.table == {x(2, 3)}
    device.close()
