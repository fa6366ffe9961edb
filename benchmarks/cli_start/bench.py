"""Whole processes, one after the other, in turn: a busy moment falls on all alike."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

from rich.table import Table

AIM_S = 0.4
_QNFV = (sys.executable, "-m", "orchestrator.cli.main")
_COMMANDS: dict[str, tuple[str, ...]] = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "qnfv --version": (*_QNFV, "--version"),
    "qnfv --help": (*_QNFV, "--help"),
    "qnfv vnf --help": (*_QNFV, "vnf", "--help"),
    "qnfv vnf list, nobody there": (
        *_QNFV, "--url", "http://127.0.0.1:1", "--token-file", "/dev/null", "vnf", "list",
    ),
}  # fmt: skip


def run(*, quick: bool = False) -> dict[str, Any]:
    """Seconds of each command, by its words."""
    took_s: dict[str, list[float]] = {words: [] for words in _COMMANDS}
    for _ in range(3 if quick else 15):
        for words, command in _COMMANDS.items():
            began_s = time.perf_counter()
            subprocess.run(command, capture_output=True, check=False, timeout=60)
            took_s[words].append(time.perf_counter() - began_s)
    return {"aim_s": AIM_S, "took_s": took_s}


def table(report: dict[str, Any]) -> Table:
    """Medians, beside the bare interpreter and the aim."""
    grid = Table(title=f"Start of the command line (aim {report['aim_s']:g} s)")
    for column in ("command", "p50 s", "worst s", "to python -c pass"):
        grid.add_column(column)
    bare_s = statistics.median(report["took_s"]["python -c pass"])
    for words, took_s in report["took_s"].items():
        p50_s = statistics.median(took_s)
        grid.add_row(words, f"{p50_s:.3f}", f"{max(took_s):.3f}", f"{p50_s / bare_s:.1f}")
    return grid
