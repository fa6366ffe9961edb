"""`qnfv experiments fig2 --quick`: real processes, two distances."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

QNFV = str(Path(sys.executable).with_name("qnfv"))


class Run:
    """The command in a process of its own, with a folder of its own for what is temporary."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.process = subprocess.Popen(
            [QNFV, "experiments", "fig2", "--quick", "--out", str(self.out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TMPDIR": str(self.temporary), "COLUMNS": "120"},
        )

    def test_bed_processes(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if process.pid != self.process.pid
            and any(str(self.temporary) in part for part in process.info["cmdline"] or [])
        ]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    run.process.kill()
    run.process.wait(30)
    for process in run.test_bed_processes():
        process.kill()


def test_two_distances_are_measured_and_nothing_stays_behind(run: Run) -> None:
    said = run.process.communicate(timeout=150)[0]
    assert run.process.returncode == 0, said
    assert "emulated" in said
    with (run.out / "fig2.csv").open() as file:
        back_to_back, far = csv.DictReader(file)
    # Real time at 500x, and on a loaded machine: longer than emulated, never shorter.
    for row, km, initialisation_s, rate_bps, qber in (
        (back_to_back, 0, 400, 4000, 0.00885),
        (far, 25, 1265, 100, 0.053),
    ):
        assert float(row["km"]) == km
        assert float(row["attenuation_db"]) == pytest.approx(1.548 + 0.2 * km, abs=0.005)
        assert initialisation_s * 0.99 < float(row["initialisation_s"]) < initialisation_s * 2
        assert float(row["secret_key_rate_mean_bps"]) == pytest.approx(rate_bps, rel=0.08)
        assert float(row["qber_mean"]) == pytest.approx(qber, rel=0.05)
        assert int(row["keys"]) > 0
    document = json.loads((run.out / "fig2.json").read_text())
    assert document["emulated"] is True
    assert document["fit"] is None, "two points say nothing of a curve"
    assert len(document["comparisons"]) == 5
    assert document["turns"][0]["states_real_s"]["connecting"] >= 0.025, "the mirrors' time"
    assert {path.name for path in run.out.iterdir()} == {
        "fig2.json",
        "fig2.csv",
        *(f"fig2{part}.{kind}" for part in "abc" for kind in ("png", "svg")),
    }
    assert run.test_bed_processes() == []
    assert list(run.temporary.iterdir()) == []


def test_a_signal_in_the_middle_stops_every_process(run: Run) -> None:
    deadline = time.monotonic() + 60
    # The units' programs run: the first turn is on.
    while not any("emulators.clavis2" in p.info["cmdline"] for p in run.test_bed_processes()):
        assert time.monotonic() < deadline
        assert run.process.poll() is None
        time.sleep(0.05)  # a poll of another process's effect, bounded by the deadline
    run.process.send_signal(signal.SIGTERM)
    run.process.communicate(timeout=60)
    assert run.process.returncode != 0
    deadline = time.monotonic() + 30
    while run.test_bed_processes():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the units end with their agents, a moment later
    assert list(run.temporary.iterdir()) == []
    assert not (run.out / "fig2.json").exists()
