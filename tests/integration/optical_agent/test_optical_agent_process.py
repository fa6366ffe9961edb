"""The agent as a process between a controller and the emulated Polatis, mirrors of 25 ms."""

from __future__ import annotations

import signal
import ssl
import time
from pathlib import Path

import pytest
from agent_house import House
from free_ports import free_port
from scripted_controller import Controller, Peer, add, delete, with_barriers

from sdn_client.openflow13 import constants as c
from sdn_client.openflow13 import messages as of
from trust import Authority, Credentials, Identity, Role
from trust.contexts import tls_context

EIGHT = [(5, 7), (6, 8), (1, 2), (10, 11), (12, 13), (17, 18), (21, 22), (25, 26)]
MIRRORS_S = 0.025

each_device = pytest.mark.parametrize("driver", ["cflow_mod", "polatis_restconf"])


def timed(peer: Peer, *messages: of.Message, barriers: list[int]) -> list[float]:
    """Send; after how many seconds each of `barriers` was answered, in that order."""
    begun = time.monotonic()
    peer.send(*messages)
    answered = []
    for xid in barriers:
        assert peer.receive() == of.BarrierReply(xid)
        answered.append(time.monotonic() - begun)
    return answered


@each_device
def test_a_barrier_is_answered_after_the_mirrors_settled(house: House, driver: str) -> None:
    controller, device_port = house.controller(), free_port()
    house.agent(house.settings(controller.port, device_port, driver=driver))
    house.polatis(device_port, driver=driver)
    peer = controller.accept()
    took_s = []
    for _ in range(10):
        took_s += timed(peer, add(1, 2), of.BarrierRequest(1), barriers=[1])
        assert peer.pairs() == {(1, 2)}
        took_s += timed(peer, delete(1), of.BarrierRequest(2), barriers=[2])
        assert peer.pairs() == set()
    assert min(took_s) >= MIRRORS_S
    assert sorted(took_s)[10] < 3 * MIRRORS_S


@each_device
def test_eight_pairs_take_one_switching_time_with_barriers_between(
    house: House, driver: str
) -> None:
    controller, device_port = house.controller(), free_port()
    house.agent(house.settings(controller.port, device_port, driver=driver))
    house.polatis(device_port, driver=driver)
    peer = controller.accept()
    took_s = []
    for _ in range(5):
        burst = with_barriers([add(a, b) for a, b in EIGHT])
        answered = timed(peer, *burst, barriers=list(range(500, 508)))
        assert answered[0] >= MIRRORS_S
        took_s.append(answered[-1])
        assert peer.pairs() == set(EIGHT)
        timed(peer, of.FlowMod(1, c.FlowCommand.DELETE), of.BarrierRequest(2), barriers=[2])
        assert peer.pairs() == set()
    assert min(took_s) < 2 * MIRRORS_S  # one after another they would take 0.2 s


@each_device
def test_a_refusal_comes_with_its_reason_before_its_barrier(house: House, driver: str) -> None:
    controller, device_port = house.controller(), free_port()
    house.agent(house.settings(controller.port, device_port, driver=driver))
    house.polatis(device_port, driver=driver)
    peer = controller.accept()
    timed(peer, add(1, 2), of.BarrierRequest(1), barriers=[1])
    mixed, taken, good = add(3, 5, xid=11), add(1, 4, xid=12), add(6, 8, xid=13)
    peer.send(*with_barriers([mixed, taken, good]))
    for barrier, mod, code in (
        (500, mixed, c.FlowModFailed.PERMISSION),
        (501, taken, c.FlowModFailed.OVERLAP),
    ):
        (error,) = peer.errors_until_barrier(barrier)
        assert (error.xid, error.type, error.code) == (mod.xid, c.ErrorType.FLOW_MOD_FAILED, code)
        assert error.data == of.encode(mod)
    assert peer.errors_until_barrier(502) == []
    assert peer.pairs() == {(1, 2), (6, 8)}


def test_two_agents_share_one_chassis(house: House) -> None:
    ports = {"vs-1": free_port(), "vs-2": free_port()}
    controllers = {name: house.controller() for name in ports}
    for name, port in ports.items():
        house.agent(house.settings(controllers[name].port, port, name))
    house.polatis(*ports.values())
    one, two = (controllers[name].accept() for name in ports)
    assert (set(one.ports()), set(two.ports())) == (set(range(1, 17)), {17, 18, 19, 20})
    one.send(add(1, 2), add(5, 7), of.BarrierRequest(1))
    two.send(add(17, 18), of.BarrierRequest(2))
    assert one.errors_until_barrier(1) == two.errors_until_barrier(2) == []
    assert (one.pairs(), two.pairs()) == ({(1, 2), (5, 7)}, {(17, 18)})
    two.send(add(1, 3, xid=5), of.FlowMod(6, c.FlowCommand.DELETE), of.BarrierRequest(3))
    assert [e.xid for e in two.errors_until_barrier(3)] == [5]
    assert (one.pairs(), two.pairs()) == ({(1, 2), (5, 7)}, set())


def test_two_agents_on_one_restconf_device_do_not_alarm_each_other(house: House) -> None:
    device_port = free_port()
    controllers = {name: house.controller() for name in ("vs-1", "vs-2")}
    for name, controller in controllers.items():
        file = house.settings(controller.port, device_port, name, driver="polatis_restconf")
        house.agent(file)
    house.polatis(device_port, driver="polatis_restconf")
    one, two = (controller.accept() for controller in controllers.values())
    for n in range(5):
        timed(one, add(1, 2), add(5, 7), of.BarrierRequest(n), barriers=[n])
        timed(two, add(17, 18), of.BarrierRequest(n), barriers=[n])
        assert (one.pairs(), two.pairs()) == ({(1, 2), (5, 7)}, {(17, 18)})
        for peer in (one, two):
            mod = of.FlowMod(6, c.FlowCommand.DELETE)
            timed(peer, mod, of.BarrierRequest(n), barriers=[n])
        assert (one.pairs(), two.pairs()) == (set(), set())


@each_device
def test_an_agent_killed_and_started_again_tells_the_truth(house: House, driver: str) -> None:
    controller, device_port = house.controller(), free_port()
    settings = house.settings(controller.port, device_port, driver=driver)
    agent = house.agent(settings)
    house.polatis(device_port, driver=driver)
    peer = controller.accept()
    timed(peer, add(1, 2), add(5, 7), of.BarrierRequest(1), barriers=[1])
    peer.send(delete(5), add(6, 8), of.BarrierRequest(2))
    agent.kill()
    assert peer.ends()
    agent.wait(10)
    house.agent(settings)
    again = controller.accept()
    # Each of the two changes was done or was not; the table says which, and it can go on.
    assert {(1, 2)} <= again.pairs() <= {(1, 2), (5, 7), (6, 8)}
    timed(again, delete(7), add(6, 8), of.BarrierRequest(3), barriers=[3])
    assert again.pairs() == {(1, 2), (6, 8)}


def test_a_switch_that_dies_in_mid_batch_takes_the_connection_along(house: House) -> None:
    controller, device_port = house.controller(), free_port()
    house.agent(house.settings(controller.port, device_port))
    switch = house.polatis(device_port)
    peer = controller.accept()
    switch.send_signal(signal.SIGSTOP)  # so that the batch is on its way when it dies
    peer.send(add(1, 2), of.BarrierRequest(1))
    peer.send(of.EchoRequest(2))
    assert peer.receive() == of.EchoReply(2)
    switch.kill()
    with pytest.raises(ConnectionError):
        peer.receive()
    house.polatis(device_port)
    again = controller.accept()
    assert again.pairs() == set()
    timed(again, add(1, 2), of.BarrierRequest(3), barriers=[3])


def test_an_agent_ends_when_it_is_told(house: House) -> None:
    controller, device_port = house.controller(), free_port()
    agent = house.agent(house.settings(controller.port, device_port))
    house.polatis(device_port)
    peer = controller.accept()
    timed(peer, add(1, 2), of.BarrierRequest(1), barriers=[1])
    agent.terminate()
    assert peer.ends()
    assert agent.wait(10) == 0


def tls_table(credentials: Credentials, server_name: str) -> str:
    return f"""
tls.server_name = "{server_name}"
tls.credentials.certificate = "{credentials.certificate}"
tls.credentials.key = "{credentials.key}"
tls.credentials.authority = "{credentials.authority}"
"""


def test_the_controller_over_tls_and_only_the_right_one(house: House, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "pki")
    agents = authority.issue(Identity(Role.SLAVE, "agent"))
    server = authority.issue(Identity(Role.ORCHESTRATOR, "controller"), addresses=("odl.example",))
    controller = house.controller(tls_context(server, server=True))
    device_port = free_port()
    tls = tls_table(agents, "other.example")
    agent = house.agent(house.settings(controller.port, device_port, tls=tls))
    house.polatis(device_port)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        controller.accept()
    agent.kill()
    agent.wait(10)
    tls = tls_table(agents, "odl.example")
    house.agent(house.settings(controller.port, device_port, tls=tls))
    peer = accept_after_broken_attempts(controller)
    timed(peer, add(1, 2), of.BarrierRequest(1), barriers=[1])
    assert peer.pairs() == {(1, 2)}


def accept_after_broken_attempts(controller: Controller) -> Peer:
    """Connections of the killed agent may still stand in the queue."""
    for _ in range(100):
        try:
            return controller.accept()
        except (ssl.SSLError, ConnectionError):
            continue
    pytest.fail("no connection is good")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('driver = "cflow_mod"', 'driver = "laser"'), "no driver 'laser'"),
        (("listen_port", "listen_prot"), "listen_prot"),
        (('chassis = "polatis-1"', 'chassis = "polatis-9"'), "polatis-9"),
        (("[controller]", 'virtual_switch = "vs-9"\n[controller]'), "vs-9"),
    ],
)
def test_settings_that_cannot_be_are_told_to_a_person(
    house: House, change: tuple[str, str], complaint: str
) -> None:
    file = house.settings(1, free_port())
    file.write_text(file.read_text().replace(*change))
    said = house.complaint_of_agent(file)
    assert complaint in said
    assert "Traceback" not in said
