"""`POST /deployments` of a 2 MB image against a laboratory of three data centres, emulated VIMs.

One after the other, by phase; 1, 10 and 50 at once; `kill -9` with 50 under way and 1,000 that
ended before. Alice rests while it is measured: the pools are filled between the parts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.table import Table

from benchmarks.lcm.past import multiply
from benchmarks.pools import await_quiet_pools
from database import open_engine
from emulators.lab.lab import Lab, LabOptions
from emulators.lab.web_vnf import build, find_static_busybox
from orchestrator.cli.client import OrchestratorClient

ROUNDS = 20
AT_ONCE = (1, 10, 50)
PAST_OPERATIONS = 1000
_DATA_CENTRES = ("dc-1", "dc-2", "dc-3")
_NOT_OURS = ("circuit", "stream", "place", "boot")
"""Steps that are mirrors, transfer and VIM; all else is the orchestrator's own."""
_AIMS = {"overhead_s": 0.5, "fifty_s": 40.0, "restart_s": 3.0, "memory_mb": 250.0}
_LOOK_EVERY_S = 0.1
_LIMIT_S = 300.0


def run(*, quick: bool = False) -> dict[str, Any]:
    """Seconds by phase, of bursts and of the restart; megabytes of the orchestrator."""
    with tempfile.TemporaryDirectory(prefix="qnfv-bench-") as name:
        folder = Path(name)
        archive = folder / "web-vnf.tar"
        build(archive, busybox=find_static_busybox(folder))
        # Keys for the largest burst, and for what came before it.
        lab = Lab(folder / "lab", LabOptions(pool_target_keys=40, key_capacity=128))
        lab.up()
        try:
            return _Bench(lab, archive).report(quick=quick)
        finally:
            lab.down()


class _Bench:
    def __init__(self, lab: Lab, archive: Path) -> None:
        self._lab = lab
        self._archive = archive
        token = lab.layout.token_file.read_text().strip()
        self._client = OrchestratorClient(lab.layout.rest_url, token)
        self._image = self._client.add_image(archive, "web-vnf")["digest"]

    def report(self, *, quick: bool) -> dict[str, Any]:
        await_quiet_pools(self._client)
        self._burst(3)  # warms all three ways
        phases = self._phases(5 if quick else ROUNDS)
        bursts = {}
        for count in AT_ONCE[:2] if quick else AT_ONCE:
            await_quiet_pools(self._client)
            bursts[str(count)] = self._burst(count) | {"memory_mb": self._peak_memory_mb()}
        await_quiet_pools(self._client)
        restart = self._restart(10 if quick else AT_ONCE[-1], PAST_OPERATIONS)
        return {
            "image_bytes": self._archive.stat().st_size,
            "phases": phases,
            "bursts": bursts,
            "restart": restart | {"memory_mb": self._peak_memory_mb()},
            "aims": _AIMS,
        }

    def _phases(self, rounds: int) -> dict[str, Any]:
        total_s, overhead_s, step_s = [], [], []
        for number in range(rounds):
            began_s = time.perf_counter()
            deployment = self._deploy(number)
            self._await_running([deployment])
            took_s = time.perf_counter() - began_s
            operation = self._client.get(f"/api/v1/operations/{deployment['operation_id']}")
            steps = {step["name"]: step["seconds"] for step in operation["steps"]}
            total_s.append(took_s)
            overhead_s.append(took_s - sum(steps[name] for name in _NOT_OURS))
            step_s.append(steps)
            self._remove([deployment])
        return {
            "total_s": total_s,
            "overhead_s": overhead_s,
            "steps_s": {name: [steps[name] for steps in step_s] for name in step_s[0]},
        }

    def _burst(self, count: int) -> dict[str, float]:
        began_s = time.perf_counter()
        deployments = self._deploy_many(count)
        asked_s = time.perf_counter() - began_s
        self._await_running(deployments)
        took_s = time.perf_counter() - began_s
        self._remove(deployments)
        return {"asked_s": asked_s, "took_s": took_s, "per_s": count / took_s}

    def _restart(self, running: int, past: int) -> dict[str, float]:
        orchestrator = self._lab.processes["orchestrator"]
        (old,) = self._deploy_many(1)
        self._await_running([old])
        self._remove([old])
        imports_s = min(_imports_s() for _ in range(3))
        deployments = self._deploy_many(running)
        orchestrator.kill()
        orchestrator.await_end()
        engine = open_engine(
            f"sqlite:///{self._lab.layout.folder}/orchestrator/orchestrator.sqlite"
        )
        made = multiply(engine, UUID(old["deployment_id"]), past)
        engine.dispose()
        began_s = time.perf_counter()
        orchestrator.start()
        orchestrator.wait_ready(_LIMIT_S)
        ready_s = time.perf_counter() - began_s
        under_way = len(self._deploying(deployments))
        self._await_running(deployments)
        took_s = time.perf_counter() - began_s
        self._remove(deployments)
        return {
            "past": made,
            "under_way": under_way,
            "ready_s": ready_s,
            "all_running_s": took_s,
            "imports_s": imports_s,
        }

    def _deploy_many(self, count: int) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(self._deploy, range(count)))

    def _deploy(self, number: int) -> dict[str, Any]:
        document = {
            "image": self._image,
            "data_centre": _DATA_CENTRES[number % len(_DATA_CENTRES)],
            "wait_s": _LIMIT_S,
        }
        answered: dict[str, Any] = self._client.post("/api/v1/deployments", document)
        return answered

    def _await_running(self, deployments: Sequence[dict[str, Any]]) -> None:
        self._await_state(deployments, "DEPLOYING", "RUNNING")

    def _remove(self, deployments: Sequence[dict[str, Any]]) -> None:
        for deployment in deployments:
            self._client.delete(f"/api/v1/deployments/{deployment['deployment_id']}")
        self._await_state(deployments, "REMOVING", "REMOVED")

    def _await_state(self, deployments: Sequence[dict[str, Any]], while_in: str, then: str) -> None:
        deadline_s = time.monotonic() + _LIMIT_S
        for deployment in deployments:
            path = f"/api/v1/deployments/{deployment['deployment_id']}"
            while (state := self._client.get(path)["state"]) == while_in:
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"{path} is {state}")
                time.sleep(_LOOK_EVERY_S / len(deployments))
            if state != then:
                raise RuntimeError(f"{path} is {state}: look at its operation")

    def _deploying(self, deployments: Sequence[dict[str, Any]]) -> list[str]:
        mine = {deployment["deployment_id"] for deployment in deployments}
        return [
            row["deployment_id"]
            for row in self._client.get("/api/v1/deployments")
            if row["deployment_id"] in mine and row["state"] == "DEPLOYING"
        ]

    def _peak_memory_mb(self) -> float:
        """The most that the orchestrator's process held since it started."""
        status = Path(f"/proc/{self._lab.processes['orchestrator'].pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6


def _imports_s() -> float:
    """What no start can be faster than: an interpreter that loads the orchestrator's modules."""
    command = "import gc; gc.disable(); import orchestrator.app"
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", command], check=True)
    return time.perf_counter() - began_s


def table(report: dict[str, Any]) -> Table:
    """Medians by phase, the bursts and the restart, beside their aims."""
    aims = report["aims"]
    grid = Table(title=f"Deployments of a {report['image_bytes'] / 1e6:.1f} MB image, emulated VIM")
    for column in ("what", "measured", "aim"):
        grid.add_column(column)
    phases = report["phases"]
    for name, seconds in phases["steps_s"].items():
        grid.add_row(f"step {name}", f"{statistics.median(seconds) * 1000:.0f} ms", "")
    grid.add_row("request to RUNNING", f"{statistics.median(phases['total_s']) * 1000:.0f} ms", "")
    grid.add_row(
        "of it the orchestrator's own",
        f"{statistics.median(phases['overhead_s']) * 1000:.0f} ms",
        f"{aims['overhead_s'] * 1000:.0f} ms",
    )
    grid.add_section()
    for count, burst in report["bursts"].items():
        grid.add_row(
            f"{count} at once",
            f"{burst['took_s']:.1f} s, {burst['per_s']:.1f}/s, {burst['memory_mb']:.0f} MB",
            f"{aims['fifty_s']:.0f} s, {aims['memory_mb']:.0f} MB" if count == "50" else "",
        )
    grid.add_section()
    restart = report["restart"]
    grid.add_row(
        f"restart with {restart['past']} ended, {restart['under_way']} under way",
        f"{restart['ready_s']:.1f} s",
        f"{aims['restart_s']:.0f} s",
    )
    imports_s = restart["imports_s"]
    grid.add_row(
        "loading its modules alone",
        f"{imports_s:.1f} s, {imports_s / restart['ready_s']:.0%} of it",
        "",
    )
    grid.add_row("until these run", f"{restart['all_running_s']:.1f} s", "")
    return grid
