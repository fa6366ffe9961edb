"""Bytes of an image flow only while their circuit stands: Open vSwitch under OpenDaylight."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from real_opendaylight import RealOpenDaylight
from twin import DataPlaneTwin, missing_parts

from sdn_client.circuits import CircuitService
from sdn_client.drivers import open_driver
from sdn_client.drivers.port import CircuitDriver, wait_connected
from sdn_client.errors import KindsMixed
from sdn_client.ledger import MemoryCircuitLedger, Purpose
from sdn_client.topology import CrossConnect, Topology, parse_topology
from timekeeping import SystemClock

pytestmark = pytest.mark.real("openvswitch")

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"
END = Path(__file__).with_name("transfer_end.py")
IMAGE = Purpose.IMAGE_TRANSFER
_IMAGE_BYTES = 48 << 20
_LIMIT_S = 90.0


class House:
    def __init__(self, driver: CircuitDriver, twin: DataPlaneTwin, topology: Topology) -> None:
        self.driver = driver
        self.twin = twin
        self.circuits = CircuitService(driver, topology, MemoryCircuitLedger(), SystemClock())
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, node: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = self.twin.command_in(node, sys.executable, str(END), *arguments)
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(10)
            assert process.stdout is not None
            process.stdout.close()
        self.circuits.close()


@pytest.fixture
def house(
    tmp_path: Path, opendaylight: RealOpenDaylight, missing_part: Callable[[str, str], None]
) -> Iterator[House]:
    if missing := missing_parts():
        missing_part("openvswitch", f"install Debian's openvswitch-switch and ethtool ({missing})")
    text = LAB.read_text()
    for number in range(1, 5):  # each partition is a switch of its own
        old = f'name = "vs-{number}"\n'
        text = text.replace(old, old + f'datapath_id = "00000000000000d{number}"\n')
    topology = parse_topology(text)
    driver = open_driver(
        "opendaylight", opendaylight.driver_options(both_directions=True), topology
    )
    address = ("127.0.0.1", opendaylight.openflow_port)
    try:
        with DataPlaneTwin(topology, tmp_path, address) as twin:
            assert wait_connected(driver, ["polatis-1"], _LIMIT_S), driver.chassis_states()
            made = House(driver, twin, topology)
            try:
                yield made
            finally:
                made.close()
    finally:
        driver.close()


def until(condition: Callable[[], bool], what: str, limit_s: float = _LIMIT_S) -> None:
    deadline_s, pause = time.monotonic() + limit_s, threading.Event()
    while not condition():
        assert time.monotonic() < deadline_s, what
        pause.wait(0.05)


def test_an_image_flows_while_its_circuit_stands_and_stops_when_it_is_cut(
    house: House, tmp_path: Path
) -> None:
    source, target = tmp_path / "image", tmp_path / "arrived"
    source.write_bytes(bytes(range(256)) * (_IMAGE_BYTES // 256))
    digest = blake3(source.read_bytes()).hexdigest()
    address = house.twin.address_of("dc-3")
    end = (address, "7100")
    receiver = house.start("node-4", "receive", *end, str(target), str(_IMAGE_BYTES), digest)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == b"ready\n"

    def arrived() -> int:
        return target.stat().st_size if target.exists() else 0

    # In the dark nothing gets through: the sender tries to connect, and goes on trying.
    house.start("node-1", "send", *end, str(source), str(_IMAGE_BYTES), digest)
    threading.Event().wait(1.0)  # time itself is the input: nothing may happen meanwhile
    assert arrived() == 0

    house.circuits.connect("op-1", "co-1", "dc-3", IMAGE)
    until(lambda: arrived() > _IMAGE_BYTES // 8, "the image flows")
    house.circuits.release("op-1")
    assert house.driver.read_cross_connects("polatis-1") == frozenset()
    seen = [-1, arrived()]

    def stands_still() -> bool:
        threading.Event().wait(0.5)  # what was in buffers still arrives
        seen.append(arrived())
        return seen[-1] == seen[-2]

    until(stands_still, "the bytes stop")
    assert seen[-1] < _IMAGE_BYTES
    threading.Event().wait(1.0)
    assert arrived() == seen[-1]

    house.circuits.connect("op-2", "co-1", "dc-3", IMAGE)
    assert receiver.stdout.readline() == b"done\n"
    assert target.read_bytes() == source.read_bytes()
    house.circuits.release("op-2")


def test_a_circuit_to_one_data_centre_carries_nothing_to_another(
    house: House, tmp_path: Path
) -> None:
    house.circuits.connect("op-1", "co-1", "dc-1", IMAGE)
    source, target = tmp_path / "image", tmp_path / "arrived"
    source.write_bytes(b"x" * 4096)
    digest = blake3(source.read_bytes()).hexdigest()
    end = (house.twin.address_of("dc-2"), "7100")
    receiver = house.start("node-3", "receive", *end, str(target), "4096", digest)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == b"ready\n"
    house.start("node-1", "send", *end, str(source), "4096", digest)
    threading.Event().wait(2.0)
    assert not target.exists()
    house.circuits.release("op-1")


def test_quantum_and_classical_ports_are_never_joined(house: House) -> None:
    mixed = CrossConnect("polatis-1", 1, 9)
    with pytest.raises(KindsMixed):
        house.circuits.connect("op-1", "alice", "dc-3", IMAGE)
    assert mixed not in house.driver.read_cross_connects("polatis-1")
