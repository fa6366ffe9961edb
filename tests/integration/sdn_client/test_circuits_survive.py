"""Circuits over real processes: the switch dies, the orchestrator dies, the plant stays lit."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from database import open_engine
from orchestrator.network.ledger import SqlCircuitLedger
from orchestrator.network.tables import migrate_network
from sdn_client.circuits import CircuitService, NotFree, Reservation
from sdn_client.drivers.openflow import OpenFlowDriver, OpenFlowOptions
from sdn_client.drivers.port import wait_connected
from sdn_client.errors import SdnError
from sdn_client.ledger import CircuitState, Purpose
from sdn_client.topology import CrossConnect, load_topology
from timekeeping import SystemClock

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"
CHILD = Path(__file__).with_name("orchestrating_child.py")
TOPOLOGY = load_topology(LAB)
IMAGE, TURN = Purpose.IMAGE_TRANSFER, Purpose.QUANTUM_TURN


def x(a: int, b: int) -> CrossConnect:
    return CrossConnect("polatis-1", a, b)


class House:
    """Ledger in a file, a port for the controller, processes that a test may kill."""

    def __init__(self, folder: Path) -> None:
        self.database_url = f"sqlite:///{folder / 'network.sqlite'}"
        self.engine = open_engine(self.database_url)
        migrate_network(self.engine)
        self.ledger = SqlCircuitLedger(self.engine)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.processes: list[subprocess.Popen[bytes]] = []
        self.services: list[tuple[OpenFlowDriver, CircuitService]] = []

    def switch(self, *flags: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "emulators.polatis", "--topology", str(LAB)]
        command += ["--chassis", "polatis-1", "--controller", f"127.0.0.1:{self.port}"]
        process = subprocess.Popen([*command, "--reconnect-s", "0.05", *flags])
        self.processes.append(process)
        return process

    def orchestrator(self) -> tuple[OpenFlowDriver, CircuitService]:
        driver = OpenFlowDriver(OpenFlowOptions(listen_port=self.port), TOPOLOGY)
        service = CircuitService(driver, TOPOLOGY, self.ledger, SystemClock())
        self.services.append((driver, service))
        service.start()
        assert wait_connected(driver, ["polatis-1"], 20)
        return driver, service

    def child(self, round_: int) -> subprocess.Popen[bytes]:
        arguments = [str(LAB), self.database_url, str(self.port), str(round_)]
        command = [sys.executable, str(CHILD), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.processes.append(process)
        return process

    def close_services(self) -> None:
        for driver, service in self.services:
            service.close()
            driver.close()
        self.services.clear()

    def close(self) -> None:
        self.close_services()
        for process in self.processes:
            process.kill()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
        self.engine.dispose()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def until(condition: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
    """Look again and again at something that no event announces; fail at the deadline."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, what
        pause.wait(0.01)


def table(driver: OpenFlowDriver) -> frozenset[CrossConnect]:
    try:
        return driver.read_cross_connects("polatis-1")
    except SdnError:
        return frozenset()


def test_a_switch_killed_and_restarted_gets_its_circuits_back(house: House) -> None:
    process = house.switch()
    driver, service = house.orchestrator()
    service.reserve("op-1", "node-1", "dc-3", IMAGE)
    service.establish("op-1")
    service.reserve("turn-1", "alice", "bob-3", TURN)
    service.establish("turn-1")
    expected = {x(5, 9), x(25, 26), x(1, 4)}
    assert table(driver) == expected
    process.kill()
    process.wait(10)
    until(lambda: not driver.chassis_states()["polatis-1"].connected, "the loss is noticed")
    assert not service.release("turn-1")  # cannot be confirmed now, but is not forgotten
    house.switch()
    until(lambda: table(driver) == expected - {x(1, 4)}, "owned circuits are made again")
    until(
        lambda: [c.to_end_point for c in service.circuits()] == ["dc-3"],
        "the release is finished",
    )


def test_a_release_while_the_switch_was_away_is_finished_when_it_kept_its_mirrors(
    house: House, tmp_path: Path
) -> None:
    keep = ("--startup", "preserve", "--state-file", str(tmp_path / "mirrors.json"))
    process = house.switch(*keep)
    driver, service = house.orchestrator()
    service.reserve("op-1", "node-1", "dc-3", IMAGE)
    service.establish("op-1")
    process.kill()
    process.wait(10)
    until(lambda: not driver.chassis_states()["polatis-1"].connected, "the loss is noticed")
    assert not service.release("op-1")
    (left,) = service.circuits()
    assert left.state is CircuitState.RELEASING
    released = threading.Event()
    service.on_release(released.set)
    house.switch(*keep)
    assert released.wait(20)
    assert table(driver) == frozenset()
    assert service.circuits() == []


def test_a_switch_killed_in_the_middle_of_a_batch_is_asked_again(house: House) -> None:
    process = house.switch()
    driver, service = house.orchestrator()
    service.reserve("op-1", "node-1", "dc-3", IMAGE)
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(service.establish, "op-1")
        until(
            lambda: any(c.state is CircuitState.ESTABLISHING for c in house.ledger.circuits()),
            "the batch is journaled",
        )
        process.kill()
        process.wait(10)
        house.switch()
        assert made.result(20).state is CircuitState.UP
    assert table(driver) == {x(5, 9), x(25, 26)}


def test_an_orchestrator_killed_at_any_moment_leaves_no_unowned_light(house: House) -> None:
    house.switch()
    rng = random.Random(25)
    for round_ in range(6):
        child = house.child(round_)
        assert child.stdout is not None
        assert child.stdout.readline() == b"working\n"
        # The moment has to be any moment: here time itself is the input.
        threading.Event().wait(rng.uniform(0.02, 0.3))
        child.kill()
        child.wait(10)

        check_and_clear(house)


def check_and_clear(house: House) -> None:
    """A new orchestrator finds light where circuits are owned, goes on, and puts it out."""
    driver, service = house.orchestrator()
    until(
        lambda: all(c.state is not CircuitState.RELEASING for c in house.ledger.circuits()),
        "begun releases are finished",
    )
    circuits = service.circuits()
    owned = {c for circuit in circuits for c in circuit.cross_connects}
    up = {c for a in circuits if a.state is CircuitState.UP for c in a.cross_connects}
    until(lambda: up <= table(driver) <= owned, "the table is what is owned")
    for owner in [owner for circuit in circuits for owner in circuit.owners]:
        assert service.establish(owner).state is CircuitState.UP
    assert table(driver) == owned
    owners = [owner for circuit in circuits for owner in circuit.owners]
    for owner in owners + [w.owner for w in service.waiting()]:
        assert service.release(owner)
    assert (table(driver), service.circuits(), service.waiting()) == (frozenset(), [], [])
    house.close_services()


def test_many_deployments_at_once_share_and_wait_and_leave_nothing(house: House) -> None:
    house.switch()
    driver, service = house.orchestrator()
    released = threading.Condition()

    def note() -> None:
        with released:
            released.notify_all()

    service.on_release(note)

    def deploy(number: int) -> None:
        owner, to = f"op-{number}", f"dc-{number % 3 + 1}"
        with released:
            while isinstance(service.reserve(owner, "node-1", to, IMAGE), NotFree):
                assert released.wait(20), f"{owner} starved"
        circuit = service.establish(owner)
        assert circuit.to_end_point == to
        assert set(circuit.cross_connects) <= table(driver)
        service.release(owner)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(deploy, range(36)))
    assert (table(driver), service.circuits(), service.waiting()) == (frozenset(), [], [])


def test_alice_is_switched_from_bob_to_bob_again_and_again(house: House) -> None:
    house.switch()
    driver, service = house.orchestrator()
    for turn in range(40):
        bob = f"bob-{turn % 3 + 1}"
        answer = service.reserve(f"turn-{turn}", "alice", bob, TURN)
        assert isinstance(answer, Reservation)
        service.establish(f"turn-{turn}")
        assert table(driver) == {x(1, turn % 3 + 2)}
        service.release(f"turn-{turn}")
    assert table(driver) == frozenset()


def test_an_established_circuit_carries_light_in_the_plant(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        control = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "emulators.fibre_plant"]
    house.processes.append(
        subprocess.Popen([*command, "--topology", str(LAB), "--control", control])
    )
    house.switch("--plant", control)
    _, service = house.orchestrator()
    observer: socket.socket | None = None

    def reach() -> bool:
        nonlocal observer
        try:
            observer = socket.create_connection(("127.0.0.1", int(control.split(":")[1])), 5)
        except ConnectionError:
            return False
        return True

    until(reach, "the plant listens")
    assert observer is not None
    with observer, observer.makefile("rb") as lines:
        observer.settimeout(20)
        observer.sendall(b'{"hello": "observer"}\n')

        def seen(from_: str, to: str) -> tuple[float, ...]:
            """Wait for a state with a path between the two; its loss."""
            while line := lines.readline():
                for path in json.loads(line).get("paths", ()):
                    if {path["from"], path["to"]} == {from_, to}:
                        return (path["loss_db"],)
            return ()

        service.reserve("turn-1", "alice", "bob-3", TURN)
        circuit = service.establish("turn-1")
        assert seen("alice", "bob-3") == (pytest.approx(circuit.loss_db),)
        service.reserve("op-1", "node-1", "dc-2", IMAGE)
        circuit = service.establish("op-1")
        assert seen("co-1", "dc-2") == (pytest.approx(circuit.loss_db),)
