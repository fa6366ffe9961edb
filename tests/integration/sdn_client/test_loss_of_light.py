"""A fibre is cut at the plant; the driver says which ports are dark. All of it as processes."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.fibre_plant.stand_in import Observer
from sdn_client.drivers import open_driver
from sdn_client.drivers.openflow import OpenFlowDriver, OpenFlowOptions
from sdn_client.drivers.port import CircuitDriver, DeviceEvent, PortsChanged, wait_connected
from sdn_client.topology import CrossConnect, load_topology

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


class Light:
    """Waits for the driver to say which ports are dark."""

    def __init__(self, driver: CircuitDriver) -> None:
        self._driver = driver
        self._changed = threading.Condition()
        driver.subscribe(self._note)
        self.told: list[DeviceEvent] = []

    def _note(self, event: DeviceEvent) -> None:
        with self._changed:
            self.told.append(event)
            self._changed.notify_all()

    def until_dark(self, ports: set[int]) -> float:
        """The seconds until exactly `ports` are dark."""
        begun = time.monotonic()
        with self._changed:
            assert self._changed.wait_for(lambda: self.dark() == ports, 10), self.dark()
        return time.monotonic() - begun

    def dark(self) -> frozenset[int]:
        return self._driver.chassis_states()["polatis-1"].ports_dark


def another_port(than: int = 0) -> int:
    """A port that is free now, below the range that outgoing connections take theirs from."""
    while True:
        port = secrets.choice([n for n in range(20000, 32000) if n != than])
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def free_port() -> int:
    return another_port()


@pytest.fixture
def driver() -> Iterator[OpenFlowDriver]:
    made = OpenFlowDriver(OpenFlowOptions(listen_port=0), load_topology(LAB))
    yield made
    made.close()


def connected_observer(port: int) -> Observer:
    deadline = time.monotonic() + 20
    while True:
        try:
            return Observer(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)  # until the process listens, bounded by the deadline


@contextlib.contextmanager
def plant_and_switch(driver: CircuitDriver, plant_port: int, *flags: str) -> Iterator[Observer]:
    plant = f"127.0.0.1:{plant_port}"
    python = (sys.executable, "-m")
    commands = [
        (*python, "emulators.fibre_plant", "--topology", str(LAB), "--control", plant),
        (
            *(*python, "emulators.polatis", "--topology", str(LAB), "--chassis", "polatis-1"),
            *("--plant", plant, "--reconnect-s", "0.05", *flags),
        ),
    ]
    processes = [subprocess.Popen(command) for command in commands]
    try:
        assert wait_connected(driver, ["polatis-1"], 20)
        with connected_observer(plant_port) as seen:
            seen.until(lambda state: state["switches"] == ["polatis-1"])
            yield seen
    finally:
        for process in processes:
            process.kill()
            process.wait(10)


@pytest.fixture
def observer(driver: OpenFlowDriver, free_port: int) -> Iterator[Observer]:
    controller = ("--controller", f"127.0.0.1:{driver.address[1]}")
    with plant_and_switch(driver, free_port, *controller) as seen:
        yield seen


@pytest.mark.parametrize(
    ("fibre", "ports"),
    [("jumper-1", {7, 17}), ("classical-spool-2", {22}), ("quantum-spool-1", {2})],
)
def test_a_cut_fibre_is_dark_at_the_driver_within_a_second(
    driver: OpenFlowDriver, observer: Observer, fibre: str, ports: set[int]
) -> None:
    light = Light(driver)
    observer.cut(fibre)
    assert light.until_dark(ports) < 1
    observer.repair(fibre)
    assert light.until_dark(set()) < 1
    assert set(light.told) == {PortsChanged("polatis-1")}
    assert driver.chassis_states()["polatis-1"].connected


def test_a_switch_that_connects_later_says_what_is_dark(
    driver: OpenFlowDriver, observer: Observer
) -> None:
    light = Light(driver)
    observer.cut("jumper-3")
    light.until_dark({9, 25})
    driver.close()
    options = OpenFlowOptions(listen_port=driver.address[1])
    second = OpenFlowDriver(options, load_topology(LAB))
    assert wait_connected(second, ["polatis-1"], 10)
    assert second.chassis_states()["polatis-1"].ports_dark == {9, 25}
    second.close()


def test_a_polatis_by_restconf_sees_it_where_classical_light_should_be(
    tmp_path: Path, free_port: int
) -> None:
    password, listen = tmp_path / "password", f"127.0.0.1:{another_port(free_port)}"
    password.write_text("secret-1\n")
    options = {"url": f"http://{listen}", "password_file": password, "poll_interval_s": 0.1}
    driver = open_driver("polatis_restconf", options, load_topology(LAB))
    flags = ("--profile", "restconf", "--listen", listen, "--password-file", str(password))
    with plant_and_switch(driver, free_port, *flags) as observer:
        light = Light(driver)
        observer.cut("classical-spool-1")
        assert light.until_dark({18}) < 1
        observer.cut("quantum-spool-1")  # far below any meter: the units tell that
        observer.repair("classical-spool-1")
        assert light.until_dark(set()) < 1
        # A jumper carries light only over a circuit.
        driver.apply(connect=[CrossConnect("polatis-1", 5, 7), CrossConnect("polatis-1", 17, 18)])
        observer.cut("jumper-1")
        assert light.until_dark({7, 17}) < 1
    driver.close()
