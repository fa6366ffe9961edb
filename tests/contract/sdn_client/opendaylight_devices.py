"""The emulated Polatis behind optical agents and a real OpenDaylight, in both presentations."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from circuit_bench import Bench
from free_ports import free_port
from real_opendaylight import CONTROLLER, RealOpenDaylight

from sdn_client.drivers import open_driver
from sdn_client.drivers.port import wait_connected
from sdn_client.topology import load_topology

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"
_COMING_S = 60.0


class OpticalHouse:
    """Agents that stay for the session, and a Polatis that tests may cut."""

    def __init__(self, opendaylight: RealOpenDaylight, folder: Path, *, partitioned: bool) -> None:
        self._opendaylight = opendaylight
        self._folder = folder
        text = LAB.read_text()
        if partitioned:
            text = re.sub(
                r'name = "vs-(\d)"',
                lambda m: f'{m[0]}\ndatapath_id = "00:00:00:00:00:00:01:0{m[1]}"',
                text,
            )
        self._file = folder / "topology.toml"
        self._file.write_text(text)
        self.topology = load_topology(self._file)
        names = [v.name for v in self.topology.virtual_switches] if partitioned else [""]
        self._device_ports = [free_port() for _ in names]
        self._agents = [
            self._start_agent(n, p) for n, p in zip(names, self._device_ports, strict=True)
        ]
        self._polatis: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def bench(self, plant_port: int | None = None) -> Iterator[Bench]:
        """A driver of its own for one test, in front of an empty device; with `plant_port`, the
        device sees the light of that fibre plant."""
        driver = open_driver("opendaylight", self._opendaylight.driver_options(), self.topology)

        def start() -> None:
            if self._polatis is None:
                self._polatis = self._start_polatis(plant_port)
            assert wait_connected(driver, ["polatis-1"], _COMING_S), driver.chassis_states()

        if plant_port is not None:
            self._cut()
        try:
            start()
            driver.apply(disconnect=driver.read_cross_connects("polatis-1"))
            yield Bench(driver, self.topology, self._cut, start)
        finally:
            driver.close()
            if plant_port is not None:
                self._cut()

    def close(self) -> None:
        self._cut()
        for agent in self._agents:
            agent.kill()
            agent.wait(10)

    def _cut(self) -> None:
        if self._polatis is not None:
            self._polatis.kill()
            self._polatis.wait(10)
            self._polatis = None

    def _start_agent(self, virtual_switch: str, device_port: int) -> subprocess.Popen[bytes]:
        name = virtual_switch or "polatis-1"
        part = f'virtual_switch = "{virtual_switch}"' if virtual_switch else ""
        settings = self._folder / f"{name}.toml"
        settings.write_text(
            f"""
name = "{name}"
topology_file = "{self._file}"
chassis = "polatis-1"
{part}
[controller]
port = {self._opendaylight.openflow_port}
reconnect_s = 0.1
{self._tls() if self._opendaylight.settings.openflow_tls else ""}
[device]
options = {{ listen_port = {device_port} }}
"""
        )
        command = [sys.executable, "-m", "orchestrator.cli.main", "serve", "optical-agent"]
        with (self._folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen([*command, "--settings", str(settings)], stdout=log, stderr=log)

    def _tls(self) -> str:
        ours = self._opendaylight.agent
        return f"""
[controller.tls]
server_name = "{CONTROLLER.dns_name}"
credentials.certificate = "{ours.certificate}"
credentials.key = "{ours.key}"
credentials.authority = "{ours.authority}"
"""

    def _start_polatis(self, plant_port: int | None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "emulators.polatis", "--topology", str(self._file)]
        command += ["--chassis", "polatis-1", "--reconnect-s", "0.05", "--log-level", "WARNING"]
        for port in self._device_ports:
            command += ["--controller", f"127.0.0.1:{port}"]
        if plant_port is not None:
            command += ["--plant", f"127.0.0.1:{plant_port}"]
        return subprocess.Popen(command)
