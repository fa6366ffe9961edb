"""A controller whose boot got stuck is booted again; one that ends is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from emulators.lab.opendaylight.boot import is_stuck

RUN = """
import sys
from pathlib import Path
from emulators.lab.opendaylight import boot

base = Path(sys.argv[1])
boot._LOOK_EVERY_S = 0.02

class Instance:
    command = (sys.executable, "-c", sys.argv[2])
    def __init__(self):
        self.base = base
    def environment(self, inherited):
        return dict(inherited)
    def prepare(self):
        (base / "data/log/karaf.log").unlink()
        (base / "prepared").write_text("again")

sys.exit(boot.run(Instance()))
"""
STUCK_AT_FIRST = """
import time
from pathlib import Path
log = Path("data/log/karaf.log")
again = Path("prepared").exists()
log.write_text("Now notifying all its registered SystemReadyListeners" if again
               else "checkBundleDiagInfos: Elapsed time 1s, diag: Booting {WAITING=4}\\n" * 20)
if not again:
    time.sleep(60)
raise SystemExit(7)
"""


def counted(*waiting: int) -> bytes:
    """What Karaf says second after second while so many bundles wait."""
    return b"".join(
        b"... | checkBundleDiagInfos: Elapsed time %ds, remaining time %ds, "
        b"diag: Booting {ACTIVE=%d, WAITING=%d}\n" % (n, 299 - n, 398 - bundles, bundles)
        for n, bundles in enumerate(waiting)
    )


def test_a_boot_that_stands_still_is_stuck() -> None:
    assert not is_stuck(b"", False)
    assert not is_stuck(counted(9, 4, 4), False)
    assert is_stuck(counted(9, 4, 4), True)
    assert is_stuck(counted(9, *[4] * 20), False)


def test_a_slow_boot_that_goes_on_is_not_stuck() -> None:
    assert not is_stuck(counted(*range(90, 0, -1)), False)
    assert not is_stuck(counted(*[9] * 19, *[4] * 19), False)


def test_a_stuck_boot_is_begun_again_and_an_end_is_an_end(tmp_path: Path) -> None:
    (tmp_path / "data" / "log").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path), STUCK_AT_FIRST],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert "once more" in done.stdout


def test_who_is_told_to_end_ends_the_controller_too(tmp_path: Path) -> None:
    (tmp_path / "data" / "log").mkdir(parents=True)
    program = "import time; print('up', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path), program], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.wait(30) != 0
    assert process.stdout.read() == ""  # nobody holds it any more
    process.stdout.close()
