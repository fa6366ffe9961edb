"""The driver `openflow` with `agent = "bristol-2014"`: read over TL1, or not believed at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from scripted_switch import ScriptedSwitch
from scripted_tl1 import ScriptedTl1, telling

from sdn_client import cflow_mod as of
from sdn_client.drivers.openflow import OpenFlowDriver, OpenFlowOptions, Tl1Options
from sdn_client.drivers.port import wait_connected
from sdn_client.errors import (
    NotConfirmed,
    OutcomeUnknown,
    SwitchRefused,
    SwitchUnreachable,
    Unverified,
)
from sdn_client.tl1 import Command
from sdn_client.topology import CrossConnect, Topology, load_topology, parse_topology

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


def x(a: int, b: int) -> CrossConnect:
    return CrossConnect("polatis-1", a, b)


def agent_of_2014(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
    """Without inertia: `switch.table` is the device's, in its own numbers."""
    match message:
        case of.Hello():
            return [of.Hello(1)]
        case of.EchoRequest():
            return [of.EchoReply(message.xid, message.data)]
        case of.FeaturesRequest():
            ports = tuple(of.CircuitPort(n) for n in range(switch.ports))
            return [of.FeaturesReply(message.xid, switch.datapath_id, ports)]
        case of.BarrierRequest():
            return [of.BarrierReply(message.xid)]
        case of.CFlowMod():
            a, b = (port % 256 + 1 for port in message.components.fibre_pairs[0])
            if message.command == of.Command.ADD:
                switch.table.append((a, b))
            else:
                switch.table[:] = [pair for pair in switch.table if a not in pair]
    return []


class Chassis:
    """Driver, scripted agent and scripted TL1 port over one table."""

    def __init__(self, folder: Path, topology: Topology, ports: int = 32) -> None:
        password = folder / "password"
        password.write_text("secret-1\n")
        self.table: list[tuple[int, int]] = []
        self.tl1 = ScriptedTl1(telling(lambda: set(self.table)))
        address = Tl1Options(
            host="127.0.0.1", port=self.tl1.port, password_file=password, timeout_s=0.5
        )
        options = OpenFlowOptions(
            listen_port=0,
            agent="bristol-2014",
            reader="tl1",
            tl1={"polatis-1": address},
            confirm_timeout_s=0.3,
        )
        self.driver = OpenFlowDriver(options, topology)
        self.agent = ScriptedSwitch(
            self.driver.address, agent_of_2014, ports=ports, table=self.table
        )

    def mods(self) -> list[tuple[int, tuple[int, int]]]:
        """The CFLOW_MODs that the agent heard: command and ports."""
        return [
            (message.command, message.components.fibre_pairs[0])
            for message in self.agent.heard
            if isinstance(message, of.CFlowMod)
        ]

    def close(self) -> None:
        self.driver.close()
        self.agent.close()
        self.tl1.close()


@pytest.fixture
def lab() -> Topology:
    return load_topology(LAB)


@pytest.fixture
def chassis(tmp_path: Path, lab: Topology) -> Iterator[Chassis]:
    made = Chassis(tmp_path, lab)
    assert wait_connected(made.driver, ["polatis-1"], 10)
    yield made
    made.close()


def test_ports_are_shifted_on_the_wire_and_read_as_they_are(chassis: Chassis) -> None:
    assert chassis.driver.chassis_states()["polatis-1"].ports == set(range(1, 33))
    chassis.driver.apply(connect=[x(1, 2)])
    assert chassis.mods() == [(of.Command.ADD, (0, 1))]
    assert chassis.driver.read_cross_connects("polatis-1") == {x(1, 2)}


def test_only_what_is_joined_as_we_think_is_parted(chassis: Chassis) -> None:
    chassis.table[:] = [(1, 3), (5, 6)]
    chassis.driver.apply(disconnect=[x(1, 2), x(5, 6)])
    assert chassis.mods() == [(of.Command.DELETE, (4, 5))]
    assert chassis.table == [(1, 3)]


@pytest.mark.parametrize(
    ("pair", "why"), [((1, 5), "in use"), ((1, 18), "partition"), ((3, 40), "no port 40")]
)
def test_what_the_agent_would_not_refuse_is_refused_here(
    chassis: Chassis, pair: tuple[int, int], why: str
) -> None:
    chassis.table[:] = [(5, 6), (7, 8)]
    with pytest.raises(SwitchRefused, match=why):
        chassis.driver.apply(disconnect=[x(7, 8)], connect=[x(2, 4), x(*pair)])
    assert chassis.table == [(5, 6)]  # what was to be parted is
    assert [command for command, _ in chassis.mods()] == [of.Command.DELETE]


def test_an_agent_that_does_nothing_is_not_believed(chassis: Chassis) -> None:
    chassis.tl1.answer = telling(set)
    with pytest.raises(NotConfirmed, match=r"missing polatis-1:1-2") as caught:
        chassis.driver.apply(connect=[x(1, 2)])
    assert not isinstance(caught.value, Unverified)


def test_a_table_that_is_late_is_waited_for(chassis: Chassis) -> None:
    asked_at: list[float] = []

    def late() -> set[tuple[int, int]]:
        if chassis.table and not asked_at:
            asked_at.append(time.monotonic())
        shown = asked_at and time.monotonic() - asked_at[0] > 0.1
        return set(chassis.table) if shown else set()

    chassis.tl1.answer = telling(late)
    begun = time.monotonic()
    chassis.driver.apply(connect=[x(1, 2)])
    assert time.monotonic() - begun >= 0.125  # the switching time, then until it shows


def test_the_switching_time_is_waited_for_whatever_barrier_and_table_say(chassis: Chassis) -> None:
    begun = time.monotonic()
    chassis.driver.apply(connect=[x(1, 2)])
    assert time.monotonic() - begun >= 0.025


HEAD = b"\r\n\n   P 26-05-04 12:00:00\r\n"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (HEAD + b'M  2 COMPLD\r\n   "1,99999"\r\n;', NotConfirmed),
        (HEAD + b'M  2 COMPLD\r\n   "1,2"\r\n   "1,3"\r\n;', NotConfirmed),
        (HEAD + b"M  2 COMPLD\r\n   see attached\r\n;", NotConfirmed),
        (HEAD + b'M  2 PRTL\r\n   "1,2"\r\n;', NotConfirmed),
        (HEAD + b"M  2 DENY\r\n   PIUI\r\n   /* not yours; */\r\n;", Unverified),
        (b"\xff\xfe\x00;", NotConfirmed),
        (b"HTTP/1.1 200 OK\r\n\r\n;", NotConfirmed),
        (b'"' * 2_000_000, NotConfirmed),
        (HEAD + b'M  9 COMPLD\r\n   "1,2"\r\n;', SwitchUnreachable),  # nobody's answer
        (b"IP 2\r\n<", SwitchUnreachable),  # an acknowledgement, then silence
        (b"", SwitchUnreachable),
    ],
)
def test_hostile_answers_are_errors_in_bounded_time_and_never_a_table(
    chassis: Chassis, answer: bytes, error: type[Exception]
) -> None:
    honest = chassis.tl1.answer
    chassis.tl1.answer = lambda c: answer if c.verb == "RTRV-PATCH" else honest(c)
    begun = time.monotonic()
    with pytest.raises(error) as caught:
        chassis.driver.read_cross_connects("polatis-1")
    with pytest.raises(error):
        chassis.driver.apply(connect=[x(1, 2)])
    assert time.monotonic() - begun < 8
    assert "secret-1" not in str(caught.value)
    assert chassis.mods() == []  # nothing was sent unread
    chassis.tl1.answer = honest
    chassis.driver.apply(connect=[x(1, 2)])


def test_chatter_and_parts_are_put_together(chassis: Chassis) -> None:
    honest = chassis.tl1.answer
    parts = (
        b"IP 2\r\n<\r\n",
        HEAD + b'*C 7 REPT ALM EQPT\r\n   "1:CR,LOS;"\r\n;',
        HEAD + b'M  2 RTRV\r\n   "1,2"\r\n>',
        HEAD + b'M  2 COMPLD\r\n   "5,6"\r\n;',
    )
    chassis.tl1.answer = lambda c: b"".join(parts) if c.verb == "RTRV-PATCH" else honest(c)
    assert chassis.driver.read_cross_connects("polatis-1") == {x(1, 2), x(5, 6)}


def test_a_reader_lost_behind_a_batch_is_an_unknown_outcome(chassis: Chassis) -> None:
    honest = chassis.tl1.answer

    def breaking(command: Command) -> bytes:
        return honest(command) if not chassis.mods() else b""

    chassis.tl1.answer = breaking
    with pytest.raises(OutcomeUnknown, match="polatis-1:1-2"):
        chassis.driver.apply(connect=[x(1, 2)])
    assert chassis.agent.ended.wait(10)
    with pytest.raises(SwitchUnreachable):
        chassis.driver.apply(connect=[x(1, 2)])


def test_without_a_reader_every_circuit_is_unverified_and_refused(lab: Topology) -> None:
    options = OpenFlowOptions(listen_port=0, agent="bristol-2014", confirm_timeout_s=0.2)
    driver = OpenFlowDriver(options, lab)
    agent = ScriptedSwitch(driver.address, agent_of_2014)
    assert agent.ended.wait(10)
    state = driver.chassis_states()["polatis-1"]
    assert not state.connected
    assert "does not answer flow statistics" in state.fault
    with pytest.raises(Unverified, match="cannot be read"):
        driver.apply(connect=[x(1, 2)])
    assert agent.table == []
    driver.close()
    agent.close()


def test_a_login_that_is_refused_leaves_the_switch_unverified(chassis: Chassis) -> None:
    chassis.tl1.answer = lambda _: HEAD + b"M  1 DENY\r\n   PIUI\r\n;"
    with pytest.raises(Unverified, match=r"denies ACT-USER.*PIUI"):
        chassis.driver.apply(connect=[x(1, 2)])
    assert chassis.mods() == []


BIG = """
nodes = [{name = "n1"}]
chassis = [{name = "polatis-1", datapath_id = 1, ports = 384}]
virtual_switches = [{name = "vs-1", chassis = "polatis-1", owner = "n1", ports = ["1-384"]}]
end_points = [{name = "a", node = "n1", kind = "classical", port = "polatis-1:1"}]
"""


def test_ports_that_do_not_fit_into_a_byte_are_refused_by_name(tmp_path: Path) -> None:
    chassis = Chassis(tmp_path, parse_topology(BIG), ports=384)
    assert wait_connected(chassis.driver, ["polatis-1"], 10)
    chassis.driver.apply(connect=[x(1, 256)])  # 255 on the wire
    for port in (257, 300, 384):
        with pytest.raises(SwitchRefused, match=rf"port {port} cannot be named.*one byte"):
            chassis.driver.apply(connect=[x(2, 3), x(4, port)])
    assert chassis.table == [(1, 256)]
    assert len(chassis.mods()) == 1
    chassis.close()


@pytest.mark.parametrize(
    "options",
    [
        {"reader": "tl1"},
        {"tl1": {"polatis-1": {"host": "h", "password_file": "p"}}},
        {"agent": "bristol-2015"},
        {"reader": "none"},
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OpenFlowOptions.model_validate(options)
