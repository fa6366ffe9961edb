"""Ends what a laboratory started when whoever started it is gone, also by `kill -9`.

Run as a file of its own (`python -I -S leash.py GRACE_S`) with the standard library alone. Its
standard input is a pipe that the starter holds open and writes each process into, as `PID BIRTH`;
the end of the pipe, which the kernel brings about however the starter ends, means that all of them
end. The signal that the kernel would send at a parent's death (PR_SET_PDEATHSIG) will not do: it is
tied to the thread that started the process, and laboratories are started from threads that end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_GRACE_S = 10.0
_LOOK_EVERY_S = 0.05
_START_TICKS = 19
"""Of `/proc/PID/stat`, counted behind the program's name: field 22 of proc(5)."""
_ENDED = ("Z", "X")


class Leash:
    """The starter's end. Thread-safe; the process at the other end begins with the first hold."""

    def __init__(self, grace_s: float = _GRACE_S) -> None:
        """Who does not end by SIGTERM within `grace_s` is killed."""
        self._grace_s = grace_s
        self._lock = threading.Lock()
        # A bare descriptor: it must not be closed with an object that nobody needs any more.
        self._pipe: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def hold(self, pid: int) -> None:
        """The process `pid`, which runs, ends with us."""
        with self._lock:
            if self._pipe is None or self._process is None or self._process.poll() is not None:
                self._begin()
            assert self._pipe is not None
            os.write(self._pipe, f"{pid} {birth(pid)}\n".encode())

    def let_go(self) -> None:
        """All that was held has ended, or is ended now."""
        with self._lock:
            if self._pipe is None or self._process is None:
                return
            os.close(self._pipe)
            self._process.wait()
            self._pipe = self._process = None

    def _begin(self) -> None:
        theirs, ours = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(self._grace_s)],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs)
        self._pipe = ours


def birth(pid: int) -> str:
    """When a process began: a pid can be given to another one later, this cannot.

    In ticks since the machine's start. The wall clock will not do: it is corrected now and then,
    and with it what the system says of the start of everything. Raises FileNotFoundError or
    ProcessLookupError for one that is no more.
    """
    return _stat(pid)[_START_TICKS]


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _runs(pid: int, born: str) -> bool:
    try:
        stat = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat[_START_TICKS] == born and stat[0] not in _ENDED


def _signal(held: set[tuple[int, str]], number: signal.Signals) -> None:
    for pid, born in held:
        if _runs(pid, born):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # it ended by itself just now


def watch(grace_s: float) -> None:
    """Until standard input ends; then nothing of what was named there runs any more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    held: set[tuple[int, str]] = set()
    for line in sys.stdin:
        pid, born = line.split()
        held.add((int(pid), born))
    _signal(held, signal.SIGTERM)
    end_s = time.monotonic() + grace_s
    while any(_runs(*one) for one in held) and time.monotonic() < end_s:
        time.sleep(_LOOK_EVERY_S)
    _signal(held, signal.SIGKILL)


if __name__ == "__main__":
    watch(float(sys.argv[1]))
