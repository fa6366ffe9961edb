"""POST /api/v1/circuits against the running orchestrator, one call after the other."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.circuits.chain import START, chain_plan, end_of
from benchmarks.circuits.round_trip import measure
from emulators.lab.controllers import EMBEDDED, OPENDAYLIGHT
from emulators.lab.errors import ControllerNotBuiltError
from emulators.lab.lab import Lab, LabOptions
from emulators.lab.opendaylight import build
from orchestrator.cli.client import OrchestratorClient

TIMES = 200
PASSAGES = (1, 2, 4, 8)
_READY_S = 240.0
_AIMS_MS = {"openflow": (30.0, 40.0), "opendaylight": (60.0, None)}
_CONTROLLERS = {"openflow": EMBEDDED, "opendaylight": OPENDAYLIGHT}
_PAUSE_S = 0.03
"""Between the end of a circuit and the next call: who waits for ports is told meanwhile."""
_WARM_UP = 20
"""A Java machine compiles what it runs often; the first calls are not what an operator sees."""


def run(*, quick: bool = False) -> dict[str, Any]:
    """Milliseconds of each call, by driver and passages; of the bare messages beside them."""
    times = 20 if quick else TIMES
    with tempfile.TemporaryDirectory(prefix="qnfv-bench-") as name:
        folder = Path(name)
        plan = chain_plan(folder)
        report: dict[str, Any] = {
            "times": times,
            "aims_ms": _AIMS_MS,
            "bare_ms": measure(plan.topology_file, "polatis-1", (33, 35), times),
            "drivers": {},
            "missing": {},
        }
        for driver, controller in _CONTROLLERS.items():
            try:
                _prepare(controller)
            except ControllerNotBuiltError as error:
                report["missing"][driver] = error.next_step
                continue
            options = LabOptions(schedule_enabled=False, controller=controller)
            with _running(Lab(folder / driver, options, plan)) as client:
                report["drivers"][driver] = _measure(client, times)
    return report


def _prepare(controller: str) -> None:
    if controller == OPENDAYLIGHT:
        build()  # the minutes of a first build are not to be measured


@contextmanager
def _running(lab: Lab) -> Iterator[OrchestratorClient]:
    """The optical network and the orchestrator of a laboratory; units and data centres rest."""
    lab.prepare()
    names = [name for name in lab.processes if name in lab.network_processes]
    started = []
    try:
        for name in names:
            lab.processes[name].start()
            started.append(name)
        for name in names:
            lab.processes[name].wait_ready(_READY_S)
        yield OrchestratorClient(lab.layout.rest_url, lab.layout.token_file.read_text().strip())
    finally:
        for name in reversed(started):
            lab.processes[name].terminate()
        for name in reversed(started):
            lab.processes[name].await_end()


def _measure(client: OrchestratorClient, times: int) -> dict[str, list[float]]:
    for number in range(_WARM_UP):
        _connect(client, PASSAGES[number % len(PASSAGES)])
    took_ms: dict[str, list[float]] = {str(passages): [] for passages in PASSAGES}
    for _ in range(times):
        # In turn, so that a busy moment of the machine falls on all alike.
        for passages in PASSAGES:
            took_ms[str(passages)].append(_connect(client, passages))
    return took_ms


def _connect(client: OrchestratorClient, passages: int) -> float:
    began_s = time.perf_counter()
    circuit = client.post(
        "/api/v1/circuits", {"from_end_point": START, "to_end_point": end_of(passages)}
    )
    took_ms = (time.perf_counter() - began_s) * 1000
    if circuit["state"] != "up" or len(circuit["cross_connects"]) != passages:
        raise RuntimeError(f"not the circuit that was asked for: {circuit}")
    client.delete(f"/api/v1/circuits/{circuit['circuit_id']}")
    time.sleep(_PAUSE_S)
    return took_ms


def table(report: dict[str, Any]) -> Table:
    """p50 and p99 beside the bare messages and the aims."""
    grid = Table(title=f"REST call to confirmed circuit, 25 ms mirrors, {report['times']} times")
    for column in ("way", "passages", "p50 ms", "p99 ms", "to bare p50", "aim p50 / p99 ms"):
        grid.add_column(column)
    bare_ms = _percentile(report["bare_ms"], 50)
    grid.add_row(
        "bare CFLOW_MOD and barrier", "1", f"{bare_ms:.1f}",
        f"{_percentile(report['bare_ms'], 99):.1f}", "1.00", "",
    )  # fmt: skip
    for driver, by_passages in report["drivers"].items():
        grid.add_section()
        p50_aim, p99_aim = report["aims_ms"][driver]
        for passages, took_ms in by_passages.items():
            p50 = _percentile(took_ms, 50)
            grid.add_row(
                driver, passages, f"{p50:.1f}", f"{_percentile(took_ms, 99):.1f}",
                f"{p50 / bare_ms:.2f}", f"{p50_aim:g} / {p99_aim or '-'}",
            )  # fmt: skip
    for driver, why in report["missing"].items():
        grid.add_row(driver, "", "not measured", why, "", "")
    return grid


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
