"""Runs an instance, and begins its boot again where that got stuck.

Once in some forty boots, on a busy machine, some of OpenDaylight's components wait for each other
for ever: "398 active, 398 total", and no RESTCONF. Karaf then counts the seconds in its log until
it gives up, and serves nothing. Nothing is lost with a boot: a controller remembers nothing
(docs/decisions/0010).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time

from emulators.lab.opendaylight.instance import Instance

_BOOTED = b"Now notifying all its registered SystemReadyListeners"
_COUNTS = re.compile(rb"checkBundleDiagInfos: Elapsed time (\d+)s")
_MOST_COUNTED_S = 60
"""A boot that goes well is counted for a few seconds only."""
_BOOT_LIMIT_S = 240.0
_LOOK_EVERY_S = 0.5
_GRACE_S = 60.0


class _End:
    """Whether somebody told us to end."""

    def __init__(self) -> None:
        self.is_wanted = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.is_wanted.set())


def run(instance: Instance) -> int:
    """Until it ends, or SIGTERM or SIGINT comes; its exit status. The instance is prepared."""
    end = _End()
    while True:
        status = _run_once(instance, end)
        if status is not None:
            return status
        print("The boot got stuck; once more.", flush=True)
        instance.prepare()


def _run_once(instance: Instance, end: _End) -> int | None:
    """The exit status; None where the boot got stuck and was ended."""
    # It dies with us, however that happens.
    command = ("setpriv", "--pdeathsig", "KILL", *instance.command)
    process = subprocess.Popen(
        command,
        cwd=instance.base,
        env=instance.environment(os.environ),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    log = instance.base / "data" / "log" / "karaf.log"
    deadline_s = time.monotonic() + _BOOT_LIMIT_S
    is_booted = False
    while process.poll() is None:
        if end.is_wanted.wait(_LOOK_EVERY_S):
            return _ended(process)
        if not is_booted:
            said = log.read_bytes() if log.exists() else b""
            is_booted = _BOOTED in said
            if not is_booted and is_stuck(said, time.monotonic() > deadline_s):
                process.kill()
                process.wait()
                return None
    return process.returncode


def is_stuck(log: bytes, is_late: bool) -> bool:
    """Whether a boot that has said this so far will never come to its end."""
    counted = [int(seconds) for seconds in _COUNTS.findall(log)]
    return is_late or max(counted, default=0) >= _MOST_COUNTED_S


def _ended(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
