"""A fibre plant as a process, with relays, and servers behind them."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from emulators.fibre_plant.stand_in import Observer, SwitchStandIn

TOPOLOGY = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class CountingServer:
    """A data centre's receiver: counts what comes, echoes when told to."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.accepted = 0
        self.received_octets = 0
        self.ends: list[str] = []
        self.changed = threading.Condition()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self.changed:
            self.accepted += 1
            self.changed.notify_all()
        buffer = bytearray(1 << 20)
        end = "orderly"
        try:
            while count := connection.recv_into(buffer):
                self.received_octets += count
                if buffer[:4] == b"echo":
                    connection.sendall(buffer[:count])
        except ConnectionResetError:
            end = "reset"
        connection.close()
        with self.changed:
            self.ends.append(end)
            self.changed.notify_all()

    def until_ended(self, count: int = 1) -> list[str]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.ends) >= count, 10)
        return self.ends

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self.listener.close()


class PlantProcess:
    def __init__(self) -> None:
        self.control = ("127.0.0.1", free_port())
        self.relay_ports = {"dc-1": free_port(), "dc-2": free_port()}
        self.servers = {name: CountingServer() for name in self.relay_ports}
        relays = [
            f"--relay={name}=127.0.0.1:{port}->127.0.0.1:{self.servers[name].port}"
            for name, port in self.relay_ports.items()
        ]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "emulators.fibre_plant", "--topology", str(TOPOLOGY)),
                *("--control", f"127.0.0.1:{self.control[1]}", *relays),
            ],
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.observer = Observer(self.control)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)  # until the process listens, bounded by the deadline
        self.switch = SwitchStandIn(self.control, "polatis-1")

    def light(self, *pairs: tuple[int, int]) -> None:
        """Pass light and wait until the plant says so."""
        self.switch.pass_light(pairs)
        wanted = len(pairs)
        self.observer.until(
            lambda state: (
                len({c for p in state["paths"] for c in p["cross_connects"]}) == 2 * wanted
            )
        )

    def connect(self, data_centre: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.relay_ports[data_centre]), timeout=10)

    def close(self) -> None:
        self.observer.close()
        self.switch.close()
        self.process.terminate()
        self.process.wait(10)
        for server in self.servers.values():
            server.close()


@pytest.fixture
def plant() -> Iterator[PlantProcess]:
    running = PlantProcess()
    yield running
    running.close()
