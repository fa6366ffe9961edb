"""Runs an instance, and begins its boot again where that got stuck.

One of its parts that waits for another for ever is enough for RESTCONF never to come; Karaf then
counts the seconds in its log, with the same bundles waiting, until it gives up. One race that did
this, on some machines in every third boot, is gone (`deploy/opendaylight/password-hash`); this is
for those that nobody has seen. Nothing is lost with a boot: a controller remembers nothing
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
_COUNTS = re.compile(rb"checkBundleDiagInfos: Elapsed time \d+s.*?diag: (.*)")
_STANDSTILL_COUNTS = 20
"""Of a second each. While a boot goes well, the next bundles come up every few seconds."""
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
    counts = _COUNTS.findall(log)[-_STANDSTILL_COUNTS:]
    return is_late or (len(counts) == _STANDSTILL_COUNTS and len(set(counts)) == 1)


def _ended(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
