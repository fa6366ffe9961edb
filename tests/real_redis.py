"""A real Redis for tests: one process, on loopback, nothing on disk."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from free_ports import free_port

_START_S = 20.0


class RealRedis:
    """It can be ended and started again, as its operator would; it forgets everything then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    @property
    def options(self) -> dict[str, object]:
        """As a jobboard is told of it."""
        return {"host": "127.0.0.1", "port": self.port}

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program is not None
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *(program, "--bind", "127.0.0.1", "--port", str(self.port)),
                    *("--save", "", "--appendonly", "no", "--dir", str(self._folder)),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                self.client.ping()
                return
            assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.02)  # a poll of another process, bounded by the deadline

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


def why_missing() -> str:
    """Why there is no Redis to start; empty if there is one."""
    return "" if shutil.which("redis-server") else "install Debian's redis-server"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[RealRedis]:
    server = RealRedis(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
