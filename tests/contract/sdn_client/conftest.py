"""Devices under the driver contract: the fake, and the emulated Polatis behind each driver."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polatis_devices
import pytest
from circuit_bench import Bench
from opendaylight_devices import OpticalHouse
from real_opendaylight import RealOpenDaylight

from sdn_client.drivers.fake import FakeCircuitDriver
from sdn_client.drivers.openflow import OpenFlowDriver, OpenFlowOptions
from sdn_client.drivers.port import wait_connected
from sdn_client.topology import Topology, load_topology
from timekeeping import SystemClock

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


@pytest.fixture
def lab() -> Topology:
    return load_topology(LAB)


@pytest.fixture(scope="session")
def whole_chassis(
    opendaylight: RealOpenDaylight, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpticalHouse]:
    """One agent: the chassis is one switch."""
    house = OpticalHouse(opendaylight, tmp_path_factory.mktemp("whole"), partitioned=False)
    yield house
    house.close()


@pytest.fixture(scope="session")
def partitions(
    opendaylight: RealOpenDaylight, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpticalHouse]:
    """An agent for each virtual switch: the chassis is four switches."""
    house = OpticalHouse(opendaylight, tmp_path_factory.mktemp("partitions"), partitioned=True)
    yield house
    house.close()


# The first of them may build OpenDaylight and boots it.
OPENDAYLIGHT_MARKS = [pytest.mark.real("opendaylight"), pytest.mark.timeout(1800)]
HOUSES = {"opendaylight": "whole_chassis", "opendaylight-partitions": "partitions"}


@pytest.fixture(
    params=[
        "fake",
        "openflow",
        *polatis_devices.BENCHES,
        *(pytest.param(name, marks=OPENDAYLIGHT_MARKS) for name in HOUSES),
    ]
)
def bench(request: pytest.FixtureRequest, lab: Topology, tmp_path: Path) -> Iterator[Bench]:
    if request.param in HOUSES:
        house: OpticalHouse = request.getfixturevalue(HOUSES[request.param])
        with house.bench() as made:
            yield made
        return
    if request.param in polatis_devices.BENCHES:
        with polatis_devices.BENCHES[request.param](lab, tmp_path) as made:
            yield made
        return
    if request.param == "fake":
        fake = FakeCircuitDriver(lab, SystemClock())
        yield Bench(
            fake,
            lab,
            lambda: fake.lose("polatis-1", forget=True),
            lambda: fake.come_back("polatis-1"),
        )
        fake.close()
        return
    driver = OpenFlowDriver(OpenFlowOptions(listen_port=0), lab)
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        host, port = driver.address
        command = [sys.executable, "-m", "emulators.polatis", "--topology", str(LAB)]
        command += ["--chassis", "polatis-1", "--controller", f"{host}:{port}"]
        command += ["--reconnect-s", "0.05"]
        started.append(subprocess.Popen(command))
        assert wait_connected(driver, ["polatis-1"], 20)

    def kill() -> None:
        started[-1].kill()
        started[-1].wait(10)

    start()
    yield Bench(driver, lab, kill, start)
    driver.close()
    for process in started:
        process.kill()
        process.wait(10)
