"""Ours: `POST /deployments` with a key in the pool, until the VNF's page answers 200.
By hand: `scp`, `docker load`, `docker run`, until the same page answers 200.

Both use the same 2 MB image, the same Docker engine and the same loopback, in turn; ours takes in
the optical circuit with its 25 ms mirrors, the sealed stream, the receipt and the journal.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import docker
import httpx
from docker.errors import DockerException
from rich.table import Table

from benchmarks.pools import await_quiet_pools
from benchmarks.transfer.sftp import Sftp, SftpMissing, running_sftp
from emulators.lab.lab import Lab, LabOptions
from emulators.lab.web_vnf import build, find_static_busybox
from orchestrator.cli.client import OrchestratorClient

ROUNDS = 7
_DATA_CENTRE = "dc-1"
_AIM = 1.5
_LIMIT_S = 120.0
_LOOK_EVERY_S = 0.005


def run(*, quick: bool = False) -> dict[str, Any]:
    """Seconds of each round, by hand and ours, and the ratio of the medians."""
    try:
        docker.from_env(timeout=10).ping()
    except DockerException as error:
        return {"missing": f"no Docker engine answers: {error}"}
    with tempfile.TemporaryDirectory(prefix="qnfv-bench-") as name:
        folder = Path(name)
        archive = folder / "web-vnf.tar"
        image_id = build(archive, busybox=find_static_busybox(folder))
        try:
            with running_sftp(folder) as sftp:
                return _measure(folder, archive, image_id, sftp, rounds=3 if quick else ROUNDS)
        except SftpMissing as error:
            return {"missing": str(error)}


def _measure(
    folder: Path, archive: Path, image_id: str, sftp: Sftp, *, rounds: int
) -> dict[str, Any]:
    # Turns of Alice would compete for the two cores; the pool is filled, then she rests.
    lab = Lab(
        folder / "lab", LabOptions(vim="docker", pool_target_keys=rounds + 1, key_capacity=64)
    )
    lab.up()
    try:
        client = OrchestratorClient(lab.layout.rest_url, lab.layout.token_file.read_text().strip())
        image = client.add_image(archive, "web-vnf")["digest"]
        await_quiet_pools(client)
        by_hand, ours, steps = [], [], []
        for number in range(rounds + 1):
            hand_s = _by_hand(archive, image_id, sftp, folder / "arrived.tar")
            ours_s, step_s = _ours(client, image)
            if number:  # the first round warms both
                by_hand.append(hand_s)
                ours.append(ours_s)
                steps.append(step_s)
    finally:
        lab.down()
    return {
        "image_bytes": archive.stat().st_size,
        "by_hand_s": by_hand,
        "ours_s": ours,
        "steps_s": {
            name: statistics.median(step[name] for step in steps)
            for name in (steps[0] if steps else {})
        },
        "ratio": statistics.median(ours) / statistics.median(by_hand),
        "aim": _AIM,
    }


def _by_hand(archive: Path, image_id: str, sftp: Sftp, arrived: Path) -> float:
    began_s = time.monotonic()
    sftp.scp(archive, arrived)
    _docker("load", "-q", "-i", str(arrived))
    container = _docker("run", "-d", "-p", "127.0.0.1::8080", image_id)
    port = _docker("port", container, "8080/tcp").rsplit(":", 1)[1]
    _await_page(f"http://127.0.0.1:{port}/")
    took_s = time.monotonic() - began_s
    _docker("rm", "-f", container)
    _docker("rmi", image_id)
    arrived.unlink()
    return took_s


def _ours(client: OrchestratorClient, image: str) -> tuple[float, dict[str, float]]:
    began_s = time.monotonic()
    deployment = client.post(
        "/api/v1/deployments", {"image": image, "data_centre": _DATA_CENTRE, "wait_s": 60}
    )
    operation = list(client.follow_operation(deployment["operation_id"]))[-1]
    if operation["state"] != "COMPLETED":
        raise RuntimeError(json.dumps(operation["error"]))
    path = f"/api/v1/deployments/{deployment['deployment_id']}"
    end_point = client.get(path)["instance"]["end_points"][0]
    _await_page(f"http://{end_point['host']}:{end_point['host_port']}/")
    took_s = time.monotonic() - began_s
    removal = client.delete(path)
    for _ in client.follow_operation(removal["operation_id"]):
        pass
    return took_s, {step["name"]: step["seconds"] for step in operation["steps"]}


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _await_page(url: str) -> None:
    deadline_s = time.monotonic() + _LIMIT_S
    while True:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{url} never answered 200")
        time.sleep(_LOOK_EVERY_S)


def table(report: dict[str, Any]) -> Table:
    """Medians, their spread and the ratio beside the aim."""
    grid = Table(title="Request to running container, 2 MB image, key in the pool")
    if "missing" in report:
        grid.add_column("not measured")
        grid.add_row(report["missing"])
        return grid
    for column in ("way", "median s", "lowest to highest s"):
        grid.add_column(column)
    for name, key in (("scp, docker load, docker run", "by_hand_s"), ("qnfv", "ours_s")):
        seconds = report[key]
        grid.add_row(
            name, f"{statistics.median(seconds):.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}"
        )
    grid.add_row("ratio", f"{report['ratio']:.2f}", f"aim {report['aim']:.2f}")
    grid.add_section()
    for step, seconds in report["steps_s"].items():
        grid.add_row(f"step {step}", f"{seconds:.3f}", "")
    return grid
