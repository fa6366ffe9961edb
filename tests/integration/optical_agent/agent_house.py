"""Agents and the emulated Polatis as processes of their own, and controllers for the agents."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from scripted_controller import Controller

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class House:
    """Starts things; `close` ends all of them. Virtual switches have datapath ids 0x101, ..."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.topology = folder / "topology.toml"
        self.topology.write_text(
            re.sub(
                r'name = "vs-(\d)"',
                lambda m: f'{m[0]}\ndatapath_id = "00:00:00:00:00:00:01:0{m[1]}"',
                LAB.read_text(),
            )
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        self._controllers: list[Controller] = []

    def controller(self, tls: ssl.SSLContext | None = None) -> Controller:
        controller = Controller(tls)
        self._controllers.append(controller)
        return controller

    def settings(
        self, controller_port: int, device_port: int, virtual_switch: str = "", tls: str = ""
    ) -> Path:
        """A settings file of an agent."""
        name = virtual_switch or "polatis-1"
        file = self._folder / f"{name}.toml"
        part = f'virtual_switch = "{virtual_switch}"' if virtual_switch else ""
        file.write_text(
            f"""
name = "{name}"
topology_file = "{self.topology}"
chassis = "polatis-1"
{part}
[controller]
port = {controller_port}
reconnect_s = 0.05
{tls}
[device]
driver = "cflow_mod"
options = {{ listen_port = {device_port} }}
"""
        )
        return file

    def agent(self, settings: Path) -> subprocess.Popen[bytes]:
        return self._start(
            "-m", "orchestrator.cli.main", "serve", "optical-agent", "--settings", str(settings)
        )

    def complaint_of_agent(self, settings: Path) -> str:
        """What an agent that cannot start says."""
        command = [sys.executable, "-m", "orchestrator.cli.main", "serve", "optical-agent"]
        ended = subprocess.run(
            [*command, "--settings", str(settings)], capture_output=True, timeout=30, text=True
        )
        assert ended.returncode != 0
        return ended.stderr

    def polatis(self, *device_ports: int) -> subprocess.Popen[bytes]:
        """The switch, told to connect to agents at `device_ports`."""
        to = [flag for p in device_ports for flag in ("--controller", f"127.0.0.1:{p}")]
        return self._start(
            "-m",
            "emulators.polatis",
            "--topology",
            str(self.topology),
            "--chassis",
            "polatis-1",
            "--reconnect-s",
            "0.05",
            *to,
        )

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, *arguments])
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(10)
        for controller in self._controllers:
            controller.close()
