"""A plant, a stand-in for the switch, and emulated units as processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators.fibre_plant.stand_in import Observer, SwitchStandIn

WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A run that is killed leaves nothing behind: fixtures start processes in the main thread."""
TOPOLOGY = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"
ALICE_PORT, BOB_PORTS = 1, {"bob-1": 2, "bob-2": 3, "bob-3": 4}
SCALE = 1000.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain until {what}"
        time.sleep(0.01)  # a poll of another process's effect, bounded by the deadline


class Unit:
    """One `QKDSequence` process."""

    def __init__(self, quantum_lab: QuantumLab, name: str, address: str, *vendor: str) -> None:
        self.name, self.address = name, address
        self.log_path = quantum_lab.directory / name / "qkdsequence.log"
        self.process = subprocess.Popen(
            [
                *WITH_US,
                *(sys.executable, "-m", "emulators.clavis2"),
                *("--fibre-plant", f"127.0.0.1:{quantum_lab.control[1]}"),
                *("--end-point", name, "--address", address),
                *("--time-scale", str(SCALE), "--seed", "7"),
                *("--log-dir", str(self.log_path.parent)),
                *("--", "QKDSequence", *vendor),
            ]
        )

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def until_logged(self, text: str, *, after: str = "", timeout_s: float = 20.0) -> None:
        until(
            lambda: text in self.log().partition(after)[2] if after else text in self.log(),
            f"{self.name} logs {text!r}",
            timeout_s,
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


class QuantumLab:
    """Everything of one test, with addresses of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.control = ("127.0.0.1", free_port())
        # 127.x.y.z of this test process, so that parallel runs do not meet on port 5323.
        pid = os.getpid()
        self._net = f"127.{100 + pid // 62500 % 100}.{pid // 250 % 250 + 1}"
        self._hosts = iter(range(1, 255))
        self._units: list[Unit] = []
        self._plant = subprocess.Popen(
            [
                *WITH_US,
                *(sys.executable, "-m", "emulators.fibre_plant"),
                *("--topology", str(TOPOLOGY), "--control", f"127.0.0.1:{self.control[1]}"),
            ]
        )
        until(self._plant_answers, "the plant listens")
        self.switch = SwitchStandIn(self.control, "polatis-1")
        self.observer = Observer(self.control)

    def _plant_answers(self) -> bool:
        try:
            socket.create_connection(self.control, timeout=1).close()
        except OSError:
            return False
        return True

    def connect(self, bob: str | None) -> None:
        self.switch.pass_light([(ALICE_PORT, BOB_PORTS[bob])] if bob else [])

    def bob(self, name: str, address: str = "") -> Unit:
        address = address or self.address()
        bob = self._begun(Unit(self, name, address, "--bob", "--line_attenuation", "3.0"))
        bob.until_logged("Standing by for Alice")  # his distillation port opens after the other
        return bob

    def alice(self, bob: Unit) -> Unit:
        return self._begun(Unit(self, "alice", self.address(), "--alice", "--ip_bob", bob.address))

    def address(self) -> str:
        return f"{self._net}.{next(self._hosts)}"

    def _begun(self, unit: Unit) -> Unit:
        self._units.append(unit)
        unit.until_logged("KeyServer: Listening")
        return unit

    def close(self) -> None:
        self.switch.close()
        self.observer.close()
        for process in (*(unit.process for unit in self._units), self._plant):
            process.terminate()
        for process in (*(unit.process for unit in self._units), self._plant):
            process.wait(10)


@pytest.fixture
def quantum_lab(tmp_path: Path) -> Iterator[QuantumLab]:
    running = QuantumLab(tmp_path)
    yield running
    running.close()
