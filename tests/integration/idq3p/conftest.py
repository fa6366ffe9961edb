"""A lab authority, unit agents as processes behind mutual TLS, and emulated units behind them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.fibre_plant.stand_in import SwitchStandIn
from idq3p.unit_agent.client import UnitAgentClient
from idq3p.unit_agent.contract import UnitView
from trust import Authority, Credentials, Identity, Role

WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A run that is killed leaves nothing behind: fixtures start processes in the main thread."""
TOPOLOGY = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain until {what}"
        time.sleep(0.01)  # a poll of another process's effect, bounded by the deadline


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Agent:
    """One agent process and a client with the orchestrator's certificate."""

    def __init__(self, site: Site, name: str, role: str, command: list[str], **more: Any) -> None:
        self.site, self.name = site, name
        self.port = free_port()
        self.folder = site.folder / name
        self.folder.mkdir(exist_ok=True)
        own = site.credentials(Role.UNIT_AGENT, name)
        settings = {
            "name": name,
            "role": role,
            "emulated": True,
            "port": self.port,
            "state_dir": str(self.folder / "state"),
            "command": command,
            "log_file": str(self.folder / "log" / "qkdsequence.log"),
            "idq3p_address": site.address(name),
            "log_poll_s": 0.02,
            "stop_grace_s": 2,
            **more,
        }
        # JSON's strings, numbers, booleans and lists are TOML's too.
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        lines += ["[credentials]"]
        lines += [
            f"{key} = {json.dumps(str(getattr(own, key)))}"
            for key in ("certificate", "key", "authority")
        ]
        self.settings_file = self.folder / "agent.toml"
        self.settings_file.write_text("\n".join(lines))
        self.start()

    def start(self) -> None:
        code = "import sys, pathlib; from idq3p.unit_agent.app import serve; "
        code += "serve(pathlib.Path(sys.argv[1]))"
        with (self.folder / "agent.out").open("ab") as out:
            self.process = subprocess.Popen(
                [*WITH_US, sys.executable, "-c", code, str(self.settings_file)], stderr=out
            )
        until(lambda: answers(self.port), f"the agent {self.name} listens")

    def client(self, role: Role = Role.ORCHESTRATOR, name: str = "co") -> UnitAgentClient:
        return UnitAgentClient.open(
            self.name, f"https://127.0.0.1:{self.port}", self.site.credentials(role, name)
        )

    def until(self, condition: Callable[[UnitView], bool], what: str) -> UnitView:
        with self.client() as client:
            until(lambda: condition(client.unit()), what)
            return client.unit()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(15)


class Site:
    """Authority, plant, switch, agents; addresses of its own for each test process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.create(folder / "pki")
        self.control_port = free_port()
        self._agents: list[Agent] = []
        pid = os.getpid()
        self._net = f"127.{50 + pid // 62500 % 50}.{pid // 250 % 250 + 1}"
        self._addresses: dict[str, str] = {}
        self._plant = subprocess.Popen(
            [
                *WITH_US,
                *(sys.executable, "-m", "emulators.fibre_plant", "--topology", str(TOPOLOGY)),
                *("--control", f"127.0.0.1:{self.control_port}"),
            ],
            stderr=subprocess.DEVNULL,
        )
        until(lambda: answers(self.control_port), "the plant listens")
        self.switch = SwitchStandIn(("127.0.0.1", self.control_port), "polatis-1")

    until = staticmethod(until)

    def credentials(self, role: Role, name: str) -> Credentials:
        return self.authority.issue(Identity(role, name), into=self.folder / "issued")

    def address(self, name: str) -> str:
        return self._addresses.setdefault(name, f"{self._net}.{len(self._addresses) + 1}")

    def agent(self, name: str, role: str, command: list[str], **more: Any) -> Agent:
        self._agents.append(Agent(self, name, role, command, **more))
        return self._agents[-1]

    def emulated(self, name: str, role: str, **more: Any) -> Agent:
        """An agent whose unit is emulated, at 1000x."""
        command = [
            *(sys.executable, "-m", "emulators.clavis2"),
            *("--fibre-plant", f"127.0.0.1:{self.control_port}", "--end-point", name),
            *("--address", self.address(name), "--time-scale", "1000"),
            *("--log-dir", str(self.folder / name / "log"), "--", "QKDSequence"),
        ]
        return self.agent(name, role, command, **more)

    def close(self) -> None:
        for agent in self._agents:
            agent.close()
        self.switch.close()
        self._plant.terminate()
        self._plant.wait(10)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    running = Site(tmp_path)
    yield running
    running.close()
