"""The embedded controller against switches that lie, break off, or are none at all."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted_switch import Answer, ScriptedSwitch, honest

from sdn_client import cflow_mod as of
from sdn_client.drivers import open_driver
from sdn_client.drivers.openflow import OpenFlowDriver, OpenFlowOptions
from sdn_client.drivers.port import wait_connected
from sdn_client.errors import (
    NotConfirmed,
    OutcomeUnknown,
    SwitchRefused,
    SwitchUnreachable,
    UnknownName,
    Unverified,
)
from sdn_client.topology import CrossConnect, Topology, load_topology, parse_topology

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


def x(a: int, b: int) -> CrossConnect:
    return CrossConnect("polatis-1", a, b)


@pytest.fixture
def lab() -> Topology:
    return load_topology(LAB)


@pytest.fixture
def driver(lab: Topology) -> Iterator[OpenFlowDriver]:
    options = OpenFlowOptions(
        listen_port=0, confirm_timeout_s=0.5, idle_s=0.3, handshake_timeout_s=0.5
    )
    made = OpenFlowDriver(options, lab)
    yield made
    made.close()


Connect = Callable[..., ScriptedSwitch]


@pytest.fixture
def connect(driver: OpenFlowDriver) -> Iterator[Connect]:
    made: list[ScriptedSwitch] = []

    def connect(answer: Answer = honest, **details: int) -> ScriptedSwitch:
        made.append(ScriptedSwitch(driver.address, answer, **details))
        return made[-1]

    yield connect
    for switch in made:
        switch.close()


def is_there(driver: OpenFlowDriver) -> bool:
    return wait_connected(driver, ["polatis-1"], 10)


def test_an_honest_switch_is_believed(driver: OpenFlowDriver, connect: Connect) -> None:
    switch = connect()
    assert is_there(driver)
    driver.apply(connect=[x(1, 2)])
    assert switch.table == [(1, 2)]
    assert driver.read_cross_connects("polatis-1") == {x(1, 2)}


def test_a_switch_that_says_yes_and_does_nothing_is_not_believed(
    driver: OpenFlowDriver, connect: Connect
) -> None:
    def idle(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
        return [] if isinstance(message, of.CFlowMod) else honest(switch, message)

    switch = connect(idle)
    switch.table.append((5, 6))
    assert is_there(driver)
    with pytest.raises(NotConfirmed, match=r"missing polatis-1:1-2"):
        driver.apply(connect=[x(1, 2)])
    with pytest.raises(NotConfirmed, match=r"still joined polatis-1:5-6"):
        driver.apply(disconnect=[x(5, 6)])


def test_what_a_half_done_batch_made_is_undone(driver: OpenFlowDriver, connect: Connect) -> None:
    def forgetful(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
        is_add = isinstance(message, of.CFlowMod) and message.command == of.Command.ADD
        if is_add and message.components.in_ports == (3,):
            return []
        return honest(switch, message)

    switch = connect(forgetful)
    assert is_there(driver)
    with pytest.raises(NotConfirmed):
        driver.apply(connect=[x(1, 2), x(3, 4), x(5, 6)])
    assert switch.table == []


def test_an_error_of_any_type_with_our_xid_is_a_refusal(
    driver: OpenFlowDriver, connect: Connect
) -> None:
    def adva(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
        if isinstance(message, of.CFlowMod) and message.components.in_ports == (3,):
            return [of.ErrorMessage(message.xid, 4, 2)]
        return honest(switch, message)

    switch = connect(adva)
    assert is_there(driver)
    with pytest.raises(SwitchRefused, match=r"polatis-1:3-4: no reason known \(OpenFlow error 4/2"):
        driver.apply(connect=[x(1, 2), x(3, 4)])
    assert switch.table == []


def test_a_pair_whose_mirrors_still_move_is_not_overlooked(
    driver: OpenFlowDriver, connect: Connect
) -> None:
    moving = [(1, 2)]

    def slow(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
        if isinstance(message, of.BarrierRequest):
            switch.table.extend(moving)
            moving.clear()
        return honest(switch, message)

    connect(slow)
    assert is_there(driver)
    assert driver.read_cross_connects("polatis-1") == {x(1, 2)}


def test_a_switch_without_read_back_is_not_used(driver: OpenFlowDriver, connect: Connect) -> None:
    def blind(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
        if isinstance(message, of.FlowStatsRequest):
            return [of.ErrorMessage(message.xid, 1, 2)]
        return honest(switch, message)

    assert connect(blind).ended.wait(10)
    state = driver.chassis_states()["polatis-1"]
    assert not state.connected
    assert "no read-back" in state.fault
    with pytest.raises(Unverified, match="no read-back"):
        driver.apply(connect=[x(1, 2)])
    with pytest.raises(Unverified):
        driver.read_cross_connects("polatis-1")


@pytest.mark.parametrize("after", [False, True])
def test_a_connection_lost_in_the_batch_is_an_unknown_outcome_until_read_again(
    driver: OpenFlowDriver, connect: Connect, after: bool
) -> None:
    def breaking(switch: ScriptedSwitch, message: of.Message) -> list[of.Message] | None:
        if isinstance(message, of.CFlowMod):
            if after:
                honest(switch, message)
            return None
        return honest(switch, message)

    first = connect(breaking)
    assert is_there(driver)
    with pytest.raises(OutcomeUnknown, match="polatis-1:1-2"):
        driver.apply(connect=[x(1, 2)])
    second = connect()
    second.table = first.table
    assert is_there(driver)
    assert driver.read_cross_connects("polatis-1") == ({x(1, 2)} if after else set())
    driver.apply(connect=[x(1, 2)])
    assert set(second.table) == {(1, 2)}


def test_a_switch_that_falls_silent_is_an_unknown_outcome_in_bounded_time(
    driver: OpenFlowDriver, connect: Connect
) -> None:
    def mute(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
        asked = any(isinstance(heard, of.CFlowMod) for heard in switch.heard)
        return [] if asked else honest(switch, message)

    connect(mute)
    assert is_there(driver)
    begun = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        driver.apply(connect=[x(1, 2)])
    assert time.monotonic() - begun < 3
    with pytest.raises(SwitchUnreachable):
        driver.apply(connect=[x(1, 2)])


def test_a_table_without_end_is_refused(driver: OpenFlowDriver, connect: Connect) -> None:
    asked = 0

    def endless(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
        nonlocal asked
        if isinstance(message, of.FlowStatsRequest):
            asked += 1
            if asked > 1:
                part = tuple(of.FlowEntry(1, 2) for _ in range(600))
                return [of.FlowStatsReply(message.xid, part, more=True)] * 200
        return honest(switch, message)

    switch = connect(endless)
    assert is_there(driver)
    with pytest.raises(SwitchUnreachable):
        driver.read_cross_connects("polatis-1")
    assert switch.ended.wait(10)


def test_the_newer_connection_of_a_switch_replaces_the_older(
    driver: OpenFlowDriver, connect: Connect
) -> None:
    old = connect()
    assert is_there(driver)
    new = connect()
    assert old.ended.wait(10)
    assert is_there(driver)
    driver.apply(connect=[x(1, 2)])
    assert (old.table, new.table) == ([], [(1, 2)])


TWO_CHASSIS = """
nodes = [{name = "n1"}, {name = "n2"}]
chassis = [
  {name = "left", datapath_id = 1, ports = 8},
  {name = "right", datapath_id = 2, ports = 8},
]
virtual_switches = [
  {name = "vs-1", chassis = "left", owner = "n1", ports = ["1-8"]},
  {name = "vs-2", chassis = "right", owner = "n2", ports = ["1-8"]},
]
end_points = [
  {name = "a", node = "n1", kind = "classical", port = "left:1"},
  {name = "b", node = "n2", kind = "classical", port = "right:1"},
]
fibres = [{name = "span", a = "left:2", b = "right:2", km = 40, kind = "classical"}]
"""


def test_when_one_chassis_refuses_what_the_other_made_goes_again() -> None:
    driver = OpenFlowDriver(OpenFlowOptions(listen_port=0), parse_topology(TWO_CHASSIS))

    def refusing(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
        if isinstance(message, of.CFlowMod):
            return [of.ErrorMessage(message.xid, 0xFFFF, 1)]
        return honest(switch, message)

    left = ScriptedSwitch(driver.address, honest, datapath_id=1, ports=8)
    right = ScriptedSwitch(driver.address, refusing, datapath_id=2, ports=8)
    assert wait_connected(driver, ["left", "right"], 10)
    pairs = [CrossConnect("left", 1, 2), CrossConnect("right", 1, 2)]
    with pytest.raises(SwitchRefused, match="right"):
        driver.apply(connect=pairs)
    assert left.table == []
    assert any(isinstance(heard, of.CFlowMod) for heard in left.heard)
    right.answer = honest
    driver.apply(connect=pairs)
    assert (left.table, right.table) == ([(1, 2)], [(1, 2)])
    left.close()
    right.close()
    driver.close()


def test_an_unknown_datapath_is_turned_away(driver: OpenFlowDriver, connect: Connect) -> None:
    assert connect(datapath_id=77).ended.wait(10)
    assert not driver.chassis_states()["polatis-1"].connected


def test_fewer_ports_than_the_topology_says_is_a_fault_with_both_sides(
    driver: OpenFlowDriver, connect: Connect
) -> None:
    assert connect(ports=16).ended.wait(10)
    fault = driver.chassis_states()["polatis-1"].fault
    assert "1 to 32" in fault
    assert "has 16" in fault
    connect()
    assert is_there(driver)
    assert driver.chassis_states()["polatis-1"].fault == ""


def test_a_port_that_goes_down_is_seen(driver: OpenFlowDriver, connect: Connect) -> None:
    switch = connect()
    assert is_there(driver)
    for config, down in ((1, frozenset({9})), (0, frozenset())):
        switch.socket.sendall(of.encode(of.CPortStatus(0, 2, of.CircuitPort(9, config=config))))
        driver.read_cross_connects("polatis-1")  # answered behind the status
        assert driver.chassis_states()["polatis-1"].ports_down == down


def test_a_silent_switch_is_noticed_by_the_probe(driver: OpenFlowDriver, connect: Connect) -> None:
    def deaf(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
        return [] if isinstance(message, of.EchoRequest) else honest(switch, message)

    gone = threading.Event()
    switch = connect(deaf)
    assert is_there(driver)
    driver.subscribe(lambda event: None if event.connected else gone.set())
    assert gone.wait(10)
    assert switch.ended.wait(10)


def test_garbage_never_disturbs_the_switch_that_works(
    driver: OpenFlowDriver, connect: Connect
) -> None:
    connect()
    assert is_there(driver)
    rng = random.Random(5)
    for junk in [b"\0" * 100, b"\xff" * 100, rng.randbytes(70_000), b"GET / HTTP/1.0\r\n\r\n"]:
        with socket.create_connection(driver.address, timeout=10) as peer:
            peer.sendall(junk)
            try:
                while peer.recv(4096):
                    pass
            except ConnectionError:
                pass
    driver.apply(connect=[x(1, 2)])


def test_peers_that_never_say_who_they_are_are_turned_away(driver: OpenFlowDriver) -> None:
    with socket.create_connection(driver.address, timeout=10) as peer:
        try:
            while peer.recv(4096):
                peer.sendall(of.encode(of.EchoRequest(1)))
        except ConnectionError:
            pass


def test_a_crowd_is_bounded(lab: Topology) -> None:
    options = OpenFlowOptions(listen_port=0, most_connections=2)
    driver = OpenFlowDriver(options, lab)
    crowd = [socket.create_connection(driver.address, timeout=10) for _ in range(2)]
    for peer in crowd:
        assert peer.recv(8)  # greeted
    with socket.create_connection(driver.address, timeout=10) as late:
        assert late.recv(8) == b""  # hung up on
    for peer in crowd:
        peer.close()
    driver.close()


def test_an_address_in_use_is_explained(driver: OpenFlowDriver, lab: Topology) -> None:
    with pytest.raises(SwitchUnreachable, match="cannot listen"):
        open_driver("openflow", {"listen_port": driver.address[1]}, lab)


def test_drivers_are_found_by_name(lab: Topology) -> None:
    open_driver("openflow", {"listen_port": 0}, lab).close()
    with pytest.raises(UnknownName, match="openflow"):
        open_driver("semaphore", {}, lab)
