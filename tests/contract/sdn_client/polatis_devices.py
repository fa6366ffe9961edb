"""The emulated Polatis behind its drivers, as benches of the driver contract."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from circuit_bench import Bench
from free_ports import free_port

from sdn_client.drivers import open_driver
from sdn_client.drivers.port import CircuitDriver, wait_connected
from sdn_client.topology import Topology

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


@contextlib.contextmanager
def _running(driver: CircuitDriver, lab: Topology, flags: list[str]) -> Iterator[Bench]:
    """The device as a process that can be killed and started again."""
    started: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-m", "emulators.polatis", "--topology", str(LAB)]
    command += ["--chassis", "polatis-1", "--log-level", "WARNING", *flags]

    def start() -> None:
        started.append(subprocess.Popen(command))
        assert wait_connected(driver, ["polatis-1"], 20)

    def kill() -> None:
        started[-1].kill()
        started[-1].wait(10)

    start()
    try:
        yield Bench(driver, lab, kill, start)
    finally:
        driver.close()
        for process in started:
            process.kill()
            process.wait(10)


def _restconf(answers: str) -> Callable[..., contextlib.AbstractContextManager[Bench]]:
    def bench(lab: Topology, folder: Path) -> contextlib.AbstractContextManager[Bench]:
        password, listen = folder / "password", f"127.0.0.1:{free_port()}"
        password.write_text("secret-1\n")
        driver = open_driver(
            "polatis_restconf",
            {"url": f"http://{listen}", "password_file": password, "poll_interval_s": 0.1},
            lab,
        )
        flags = ["--profile", "restconf", "--listen", listen, "--password-file", str(password)]
        return _running(driver, lab, [*flags, "--answers", answers])

    return bench


def _bristol_2014(lab: Topology, folder: Path) -> contextlib.AbstractContextManager[Bench]:
    """The agent of 2014, which is read over TL1."""
    password, port, tl1_port = folder / "password", free_port(), free_port()
    password.write_text("secret-1\n")
    tl1 = {"host": "127.0.0.1", "port": tl1_port, "password_file": password}
    options = {"listen_port": port, "agent": "bristol-2014", "reader": "tl1"}
    driver = open_driver("openflow", {**options, "tl1": {"polatis-1": tl1}}, lab)
    flags = ["--profile", "bristol-2014", "--controller", f"127.0.0.1:{port}"]
    flags += ["--listen", f"127.0.0.1:{tl1_port}", "--password-file", str(password)]
    return _running(driver, lab, [*flags, "--reconnect-s", "0.05"])


BENCHES = {
    "polatis_restconf": _restconf("at-once"),
    "polatis_restconf-settled": _restconf("settled"),
    "openflow-2014": _bristol_2014,
}
