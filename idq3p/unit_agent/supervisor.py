"""Runs the unit's program and ends it when the agent ends, however that happens.

Started as a file of its own (`python -I -S supervisor.py GRACE_S PROGRAM ...`) with standard
library alone. Its standard input is a pipe that the agent holds open: the end of the pipe, which
the kernel brings about even after `kill -9`, means stop. The program in turn dies with this process
(PR_SET_PDEATHSIG). The kernel ties that signal to the thread that started the program; here there
is one thread only, while a web service's threads come and go, which is why this process exists.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1
COULD_NOT_START = 127


def _die_with(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def run(grace_s: float, command: list[str]) -> int:
    """Run `command` until it ends or the agent lets go; its exit status."""
    parent = os.getpid()
    wanted_end, told_to_end = os.pipe()
    # SIGTERM only makes the poll below return, by a byte in this pipe.
    os.set_blocking(told_to_end, False)
    signal.signal(signal.SIGTERM, lambda *_: os.write(told_to_end, b"x"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        program = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, preexec_fn=lambda: _die_with(parent)
        )
    except (OSError, subprocess.SubprocessError) as error:
        print(f"cannot start {command[0]}: {error}", file=sys.stderr)
        return COULD_NOT_START
    ended = os.pidfd_open(program.pid)
    waiting = select.poll()
    for descriptor in (ended, wanted_end, sys.stdin.fileno()):
        waiting.register(descriptor, select.POLLIN)
    if ended not in (descriptor for descriptor, _ in waiting.poll()):
        program.terminate()
        try:
            program.wait(grace_s)
        except subprocess.TimeoutExpired:
            program.kill()
    status = program.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(run(float(sys.argv[1]), sys.argv[2:]))
