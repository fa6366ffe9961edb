"""Key servers that must all behave alike: one over a shelf in memory, one of an emulated pair."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from emulators.fibre_plant.stand_in import SwitchStandIn
from idq3p.key_bytes import KeyBytes
from idq3p.server import KeyServer, MemoryKeyShelf, serve_key_server

TOPOLOGY = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


@dataclass
class ServerUnderTest:
    """Where to ask, and how to have the server make keys or hold none."""

    address: str
    port: int


class EventLoopThread:
    """An asyncio loop in a thread, for servers that tests talk to from outside."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


def memory_server(key_count: int) -> Iterator[ServerUnderTest]:
    shelf = MemoryKeyShelf()
    for _ in range(key_count):
        shelf.put(1 + secrets.randbelow(2**64 - 1), KeyBytes(secrets.token_bytes(32)))
    thread = EventLoopThread()
    transport = thread.call(serve_key_server(KeyServer(shelf), "127.0.0.1", 0))
    yield ServerUnderTest(*transport.get_extra_info("sockname"))
    thread.loop.call_soon_threadsafe(transport.close)
    thread.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # a poll of another process's effect, bounded by the deadline


def answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


def emulated_alice(folder: Path, with_keys: bool) -> Iterator[ServerUnderTest]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        control = ("127.0.0.1", probe.getsockname()[1])
    pid = os.getpid()
    net = f"127.{200 + pid // 62500 % 50}.{pid // 250 % 250 + 1}"
    alice, bob = f"{net}.{1 + with_keys * 2}", f"{net}.{2 + with_keys * 2}"
    plant = subprocess.Popen(
        [
            *(sys.executable, "-m", "emulators.fibre_plant", "--topology", str(TOPOLOGY)),
            *("--control", f"{control[0]}:{control[1]}"),
        ]
    )
    until(lambda: answers(control))

    def unit(end_point: str, address: str, *vendor: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "emulators.clavis2"),
                *("--fibre-plant", f"{control[0]}:{control[1]}", "--end-point", end_point),
                *("--address", address, "--time-scale", "1000"),
                *("--log-dir", str(folder / end_point), "--", "QKDSequence", *vendor),
            ]
        )

    units = [unit("bob-1", bob, "--bob"), unit("alice", alice, "--alice", "--ip_bob", bob)]
    switch = SwitchStandIn(control, "polatis-1")
    log = folder / "alice" / "qkdsequence.log"
    if with_keys:
        switch.pass_light([(1, 2)])
    wanted = "Secret Key Rate" if with_keys else "KeyServer: Listening"
    until(lambda: log.exists() and wanted in log.read_text())
    if with_keys:
        # The store stays as it is while the tests look at it.
        switch.pass_light([])
    yield ServerUnderTest(alice, 5323)
    switch.close()
    for process in (*units, plant):
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module", params=["memory", "emulated unit"])
def stocked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerUnderTest]:
    """A key server with more than a hundred keys."""
    if request.param == "memory":
        yield from memory_server(500)
    else:
        yield from emulated_alice(tmp_path_factory.mktemp("stocked"), with_keys=True)


@pytest.fixture(scope="module", params=["memory", "emulated unit"])
def empty(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerUnderTest]:
    """A key server without a key."""
    if request.param == "memory":
        yield from memory_server(0)
    else:
        yield from emulated_alice(tmp_path_factory.mktemp("empty"), with_keys=False)
