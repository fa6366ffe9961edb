"""What the agent shows of a chassis or of a partition."""

from __future__ import annotations

import pytest

from sdn_client.drivers.port import ChassisState
from sdn_client.errors import TopologyError, UnknownName
from sdn_client.openflow13 import constants as c
from sdn_client.optical_agent.presented import PresentedSwitch, present
from sdn_client.topology import Topology, parse_topology

ALL = frozenset(range(1, 33))


def test_a_port_is_down_or_dark_or_live(lab: Topology) -> None:
    state = ChassisState(True, ports=ALL, ports_down=frozenset({2}), ports_dark=frozenset({3}))
    ports = present(lab, "polatis-1", "vs-1").port_descriptions(state)
    assert [p.port_no for p in ports] == list(range(1, 17))
    assert [(p.config, p.state) for p in ports[:3]] == [
        (0, c.STATE_LIVE),
        (c.CONFIG_PORT_DOWN, c.STATE_LINK_DOWN),
        (0, c.STATE_LINK_DOWN),
    ]


def test_ports_that_the_device_lacks_are_not_shown(lab: Topology) -> None:
    state = ChassisState(True, ports=frozenset({1, 2, 17}))
    ports = present(lab, "polatis-1", "vs-1").port_descriptions(state)
    assert [p.port_no for p in ports] == [1, 2]


def test_names_are_short_and_different_however_long_the_switch_s_is() -> None:
    ports = frozenset(range(1, 0xFA00))
    switch = PresentedSwitch("a-switch-with-a-very-long-name", "x", 2**64 - 1, ports)
    shown = switch.port_descriptions(ChassisState(True, ports=ports))
    assert max(len(p.name) for p in shown) == 15
    assert len({p.name for p in shown}) == len({p.hw_addr for p in shown}) == len(ports)
    assert all(p.hw_addr[0] & 3 == 2 for p in shown)  # locally administered, one station


def test_a_switch_that_cannot_be_presented_is_named(lab: Topology) -> None:
    with pytest.raises(UnknownName, match="polatis-2"):
        present(lab, "polatis-2", None)
    with pytest.raises(TopologyError, match="vs-9"):
        present(lab, "polatis-1", "vs-9")
    bare = parse_topology(lab_without_datapaths())
    with pytest.raises(TopologyError, match="datapath_id"):
        present(bare, "polatis-1", "vs-1")


def lab_without_datapaths() -> str:
    return """
        nodes = [{ name = "n" }]
        chassis = [{ name = "polatis-1", datapath_id = 1, ports = 4 }]
        virtual_switches = [{ name = "vs-1", chassis = "polatis-1", owner = "n", ports = ["1-4"] }]
        end_points = [{ name = "e", node = "n", kind = "classical", port = "polatis-1:1" }]
    """
