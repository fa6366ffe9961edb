"""What only a real OpenDaylight can show: its doors, its first user, what it pushes on its own."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest
from free_ports import free_port
from opendaylight_devices import LAB, OpticalHouse
from real_opendaylight import RealOpenDaylight

from emulators.fibre_plant.stand_in import Observer
from sdn_client.drivers import open_driver
from sdn_client.drivers.port import DeviceEvent, PortsChanged, wait_connected
from sdn_client.errors import SwitchUnreachable
from sdn_client.topology import CrossConnect, Topology
from trust.contexts import tls_context

pytestmark = [pytest.mark.real("opendaylight"), pytest.mark.timeout(1800)]

NODE = "/rests/data/opendaylight-inventory:nodes/node=openflow%3A1"


def wait_for(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def client(opendaylight: RealOpenDaylight, user: str, password: str) -> httpx.Client:
    verify = tls_context(opendaylight.ours, server=False)
    return httpx.Client(
        base_url=opendaylight.url, verify=verify, auth=(user, password), trust_env=False, timeout=20
    )


def ours(opendaylight: RealOpenDaylight) -> httpx.Client:
    password = opendaylight.settings.password_file.read_text().strip()
    return client(opendaylight, opendaylight.settings.username, password)


def test_nothing_listens_beyond_what_is_configured(opendaylight: RealOpenDaylight) -> None:
    process = psutil.Process(opendaylight.pid).children()[0]
    doors = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {d.ip for d in doors} <= {"127.0.0.1", "::ffff:127.0.0.1"}
    ports = {d.port for d in doors}
    assert {opendaylight.settings.restconf[1], opendaylight.openflow_port} < ports
    assert len(ports) == 3  # the third is Akka's
    assert not [c for c in process.net_connections("udp") if not c.raddr]


@pytest.mark.parametrize("path", [NODE, "/auth/v1/users", "/jolokia/", "/rests/operations"])
def test_the_default_user_does_not_exist(opendaylight: RealOpenDaylight, path: str) -> None:
    with client(opendaylight, "admin", "admin") as stranger:
        assert stranger.get(path).status_code == 401


def test_without_a_certificate_nobody_enters(opendaylight: RealOpenDaylight) -> None:
    context = ssl.create_default_context(cafile=str(opendaylight.ours.authority))
    with (
        httpx.Client(base_url=opendaylight.url, verify=context, trust_env=False) as stranger,
        pytest.raises(httpx.TransportError),
    ):
        stranger.get(NODE)


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ({"username": "circuit"}, "refuses the user 'circuit' or the password"),
        ({"server_name": "other.controller.qnfv.internal"}, "not valid for 'other"),
        ({"certificate_file": None, "key_file": None}, "does not answer|not reachable"),
    ],
)
def test_a_wrong_option_is_said_plainly(
    opendaylight: RealOpenDaylight, lab: Topology, option: dict[str, Any], why: str
) -> None:
    driver = open_driver("opendaylight", opendaylight.driver_options(**option), lab)
    try:
        wait_for(lambda: "asked yet" not in driver.chassis_states()["polatis-1"].fault)
        with pytest.raises(SwitchUnreachable, match=why):
            driver.read_cross_connects("polatis-1")
    finally:
        driver.close()


def test_stale_flows_of_the_config_datastore_do_not_come_back(
    opendaylight: RealOpenDaylight, whole_chassis: OpticalHouse
) -> None:
    output = {"output-node-connector": "12", "max-length": 0}
    actions = {"action": [{"order": 0, "output-action": output}]}
    stale = {
        "id": "stale",
        "table_id": 0,
        "priority": 100,
        "match": {"in-port": "openflow:1:11"},
        "instructions": {"instruction": [{"order": 0, "apply-actions": actions}]},
    }
    stale_pair = CrossConnect("polatis-1", 11, 12)
    with whole_chassis.bench() as bench, ours(opendaylight) as person:
        put = person.put(
            f"{NODE}/flow-node-inventory:table=0/flow=stale",
            json={"flow-node-inventory:flow": [stale]},
        )
        assert put.status_code == 201, put.text

        def is_joined() -> bool:
            return stale_pair in bench.driver.read_cross_connects("polatis-1")

        wait_for(is_joined, 4)  # OpenDaylight pushed it
        wait_for(lambda: person.get(f"{NODE}?content=config").status_code == 409)
        wait_for(lambda: not is_joined())
        bench.cut()
        wait_for(lambda: not bench.driver.chassis_states()["polatis-1"].connected)
        bench.bring_back()
        assert bench.driver.read_cross_connects("polatis-1") == frozenset()


def test_flows_put_while_the_switch_was_away_are_gone_when_it_is_announced(
    opendaylight: RealOpenDaylight, whole_chassis: OpticalHouse
) -> None:
    with whole_chassis.bench() as bench, ours(opendaylight) as person:
        bench.cut()
        wait_for(lambda: not bench.driver.chassis_states()["polatis-1"].connected)
        body = {
            "flow-node-inventory:flow": [
                {"id": "stale", "table_id": 0, "match": {"in-port": "openflow:1:11"}}
            ]
        }
        put = person.put(f"{NODE}/flow-node-inventory:table=0/flow=stale", json=body)
        assert put.status_code == 201, put.text
        bench.bring_back()
        assert person.get(f"{NODE}?content=config").status_code == 409
        assert wait_connected(bench.driver, ["polatis-1"], 30)
        assert bench.driver.read_cross_connects("polatis-1") == frozenset()


def test_calls_at_once_keep_their_connections(
    opendaylight: RealOpenDaylight, partitions: OpticalHouse
) -> None:
    def connections() -> set[int]:
        port = opendaylight.settings.restconf[1]
        ours = psutil.Process().net_connections("tcp")
        return {c.laddr.port for c in ours if c.raddr and c.raddr.port == port}

    with partitions.bench() as bench:
        for _ in range(3):
            bench.driver.read_cross_connects("polatis-1")
        before = connections()
        for _ in range(20):
            bench.driver.read_cross_connects("polatis-1")
        assert before
        assert before <= connections()  # none was closed: a handshake costs more than a call


@contextlib.contextmanager
def fibre_plant(port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "emulators.fibre_plant", "--topology", str(LAB)]
    process = subprocess.Popen([*command, "--control", f"127.0.0.1:{port}"])
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def test_a_cut_fibre_is_dark_at_the_driver_within_a_second(whole_chassis: OpticalHouse) -> None:
    port = free_port()
    with fibre_plant(port), whole_chassis.bench(port) as bench:
        told: list[DeviceEvent] = []
        bench.driver.subscribe(told.append)

        def dark() -> frozenset[int]:
            return bench.driver.chassis_states()["polatis-1"].ports_dark

        with Observer(("127.0.0.1", port)) as plant:
            plant.until(lambda state: state["switches"] == ["polatis-1"])
            plant.cut("jumper-1")
            wait_for(lambda: dark() == {7, 17}, 1)
            plant.repair("jumper-1")
            wait_for(lambda: not dark(), 1)
        wait_for(lambda: PortsChanged("polatis-1") in told)
        assert set(told) == {PortsChanged("polatis-1")}
