"""Agents and the emulated Polatis as processes of their own, and controllers for the agents."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from pathlib import Path

from scripted_controller import Controller

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


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
        self.password = folder / "password"
        self.password.write_text("secret-1\n")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._controllers: list[Controller] = []

    def controller(self, tls: ssl.SSLContext | None = None) -> Controller:
        controller = Controller(tls)
        self._controllers.append(controller)
        return controller

    def settings(
        self,
        controller_port: int,
        device_port: int,
        virtual_switch: str = "",
        tls: str = "",
        driver: str = "cflow_mod",
    ) -> Path:
        """A settings file of an agent; the device connects to `device_port`, or (RESTCONF) listens
        there."""
        name = virtual_switch or "polatis-1"
        file = self._folder / f"{name}.toml"
        part = f'virtual_switch = "{virtual_switch}"' if virtual_switch else ""
        options = f"listen_port = {device_port}"
        if driver == "polatis_restconf":
            options = f'url = "http://127.0.0.1:{device_port}", password_file = "{self.password}"'
            options += ", poll_interval_s = 0.1"
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
driver = "{driver}"
options = {{ {options} }}
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

    def polatis(self, *device_ports: int, driver: str = "cflow_mod") -> subprocess.Popen[bytes]:
        """The switch, told to connect to agents at `device_ports`, or to listen there."""
        if driver == "polatis_restconf":
            flags = ["--profile", "restconf", "--listen", f"127.0.0.1:{device_ports[0]}"]
            flags += ["--password-file", str(self.password)]
        else:
            to = [("--controller", f"127.0.0.1:{port}") for port in device_ports]
            flags = ["--reconnect-s", "0.05", *(word for pair in to for word in pair)]
        topology = ("--topology", str(self.topology), "--chassis", "polatis-1")
        return self._start("-m", "emulators.polatis", *topology, *flags)

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
