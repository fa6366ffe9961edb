"""Two terminals and one laboratory: who starts, who stops, and that nothing stays behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

_COMMAND = """
import sys
from pathlib import Path
from emulators.lab import cli, lab
from emulators.lab.processes import ProcessSpec
from problem_details import ProblemError

# One process that does nothing stands for all of them.
asleep = (sys.executable, "-c", "import time; time.sleep(300)")
lab.Lab._specs = lambda self: [ProcessSpec("sleeper", asleep, lambda: True)]
cli._make_images = lambda lab: print("it is up", flush=True)
cli._LOOK_EVERY_S = 0.05
try:
    if sys.argv[2] == "up":
        cli.up(Path(sys.argv[1]), vim="emulated")
    else:
        cli.down(Path(sys.argv[1]))
except ProblemError as error:
    print("refused:", error.detail, flush=True)
"""


class Terminals:
    """Runs `qnfv lab up` and `qnfv lab down` in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: list[subprocess.Popen[str]] = []

    def run(self, what: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, str(self.folder), what],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.opened.append(process)
        return process

    def up(self) -> subprocess.Popen[str]:
        process = self.run("up")
        assert process.stdout is not None
        for line in process.stdout:
            if "it is up" in line:
                return process
        raise AssertionError("it did not come up")

    def sleeper(self) -> psutil.Process | None:
        """The laboratory's one process, as its pid file tells."""
        try:
            pid = int((self.folder / "run" / "sleeper.pid").read_text().split()[0])
            return psutil.Process(pid)
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path)
    yield terminals
    for process in terminals.opened:
        process.kill()
        process.wait(30)
    left = terminals.sleeper()
    if left is not None:
        left.kill()


def test_a_second_up_is_refused_and_leaves_the_first_alone(terminals: Terminals) -> None:
    first = terminals.up()
    sleeper = terminals.sleeper()
    assert sleeper is not None
    second = terminals.run("up")
    assert "refused: A laboratory runs" in second.communicate(timeout=60)[0].replace("\n", " ")
    assert sleeper.is_running()
    assert first.poll() is None


def test_down_in_another_terminal_ends_the_supervisor_too(terminals: Terminals) -> None:
    first = terminals.up()
    terminals.run("down").wait(60)
    first.wait(10)
    assert terminals.sleeper() is None, "nobody started it again"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(terminals: Terminals, number: signal.Signals) -> None:
    first = terminals.up()
    first.send_signal(number)
    first.wait(60)
    assert terminals.sleeper() is None


def test_kill_9_of_the_terminal_leaves_nothing_behind(terminals: Terminals) -> None:
    first = terminals.up()
    sleeper = terminals.sleeper()
    assert sleeper is not None
    first.kill()
    first.wait(10)
    sleeper.wait(30)
    assert terminals.run("down").wait(60) == 0


_THREAD = """
import sys, threading
from pathlib import Path
from emulators.lab.leash import Leash
from emulators.lab.processes import LabProcess, ProcessSpec

deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
deaf += "print('x', flush=True); time.sleep(300)"
spec = ProcessSpec("deaf", (sys.executable, "-c", deaf), lambda: True)
process = LabProcess(spec, Path(sys.argv[1]), Leash(0.2))
starter = threading.Thread(target=process.start)
starter.start()
starter.join()  # the kernel's own signal at a parent's death would come now
del process, starter
print("started", flush=True)
sys.stdin.read()
"""


def test_what_a_thread_started_lives_as_long_as_its_process_and_no_longer(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", _THREAD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"started\n"
    child = psutil.Process(int((tmp_path / "run" / "deaf.pid").read_text().split()[0]))
    log = tmp_path / "logs" / "deaf.log"
    while not log.read_text():  # from here on it does not hear SIGTERM
        assert child.is_running()
    starter.kill()
    starter.communicate()
    child.wait(30)
