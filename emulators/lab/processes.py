"""Processes of the laboratory: started, watched, killed by their id, never by their name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from emulators.lab.errors import ProcessFailedError
from emulators.lab.leash import Leash, birth

_LOOK_EVERY_S = 0.05
_STOP_GRACE_S = 10.0
_LOG_TAIL_BYTES = 2000


@dataclass(frozen=True)
class ProcessSpec:
    """How a process is started, and how one sees that it is ready."""

    name: str
    argv: tuple[str, ...]
    is_ready: Callable[[], bool]
    own_log: Path | None = None
    """Where it writes what it does not say aloud."""


def serve(service: str, settings: Path) -> tuple[str, ...]:
    """The command that runs one of our services."""
    command = (sys.executable, "-m", "orchestrator.cli.main", "serve", service)
    return (*command, "--settings", str(settings))


class LabProcess:
    """One process with a log file and a pid file of its own; on a leash it ends with us."""

    def __init__(self, spec: ProcessSpec, folder: Path, leash: Leash | None = None) -> None:
        self.spec = spec
        self._leash = leash
        self.log_file = folder / "logs" / f"{spec.name}.log"
        self._pid_file = folder / "run" / f"{spec.name}.pid"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the running process, also of one that another supervisor started."""
        process = self._process()
        return None if process is None else process.pid

    def start(self) -> None:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._child = subprocess.Popen(
                self.spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._record(self._child.pid)
        if self._leash is not None:
            self._leash.hold(self._child.pid)

    def be_this_process(self) -> None:
        """The calling process is the one that is meant; it was not started here."""
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        self._record(os.getpid())

    def wait_ready(self, timeout_s: float) -> None:
        """Raises ProcessFailedError with the end of the log."""
        deadline_s = time.monotonic() + timeout_s
        while not self.spec.is_ready():
            if self._process() is None:
                code = None if self._child is None else self._child.poll()
                raise self._failed(f"ended (exit code {code}) before it was ready")
            if time.monotonic() > deadline_s:
                raise self._failed(f"was not ready within {timeout_s:g} s")
            time.sleep(_LOOK_EVERY_S)

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        self._await_end(_STOP_GRACE_S)

    def freeze(self) -> None:
        """Stop it in the middle of what it does, until it is thawed."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end; `await_end` waits for it."""
        self._signal(signal.SIGTERM)

    def await_end(self, grace_s: float = _STOP_GRACE_S) -> None:
        """Wait for its end; whoever does not end in time is killed."""
        if not self._await_end(grace_s):
            self.kill()
        self.forget()

    def forget(self) -> None:
        self._pid_file.unlink(missing_ok=True)

    def log_tail(self) -> str:
        return "".join(_tail(file) for file in (self.log_file, self.spec.own_log) if file)

    def _record(self, pid: int) -> None:
        self._pid_file.write_text(f"{pid} {birth(pid)}\n")

    def _process(self) -> psutil.Process | None:
        if self._child is not None and self._child.poll() is not None:
            return None
        try:
            pid, started = self._pid_file.read_text().split()
            process = psutil.Process(int(pid))
            if birth(int(pid)) == started and process.status() != "zombie":
                return process
        except (FileNotFoundError, ProcessLookupError, ValueError, psutil.NoSuchProcess):
            return None
        return None

    def _signal(self, number: signal.Signals) -> None:
        process = self._process()
        if process is not None:
            with suppress(ProcessLookupError):  # it ended by itself just now
                os.kill(process.pid, number)

    def _await_end(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while self._process() is not None:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_LOOK_EVERY_S)
        return True

    def _failed(self, what: str) -> ProcessFailedError:
        return ProcessFailedError(
            f"{self.spec.name} {what}. The end of its log:\n{self.log_tail()}",
            next_step=f"Read {self.log_file}.",
        )


def _tail(file: Path) -> str:
    if not file.exists():
        return ""
    with file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - _LOG_TAIL_BYTES))
        return log.read().decode(errors="replace")


def listens(port: int) -> bool:
    """Whether somebody listens on this port, without connecting to it."""
    wanted = f"{port:04X}"
    with Path("/proc/net/tcp").open() as table:
        for line in table:
            fields = line.split()
            if fields[1].endswith(f":{wanted}") and fields[3] == "0A":
                return True
    return False
