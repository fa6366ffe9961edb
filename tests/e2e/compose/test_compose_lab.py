"""The compose lab for real: built, started, used, killed in part, and removed without a trace.

It takes minutes, so it runs only where QNFV_REQUIRE_REAL lists `compose`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

ROOT = Path(__file__).parents[3]
FILES = ROOT / ".lab/compose"
PROJECT = {"label": "com.docker.compose.project=qnfv-lab"}
SERVICES = {
    "database", "orchestrator", "opendaylight", "optical-agent", "polatis", "fibre-plant", "alice",
    "bob-1", "bob-2", "bob-3", "dc-1", "dc-2", "dc-3",
}  # fmt: skip

pytestmark = pytest.mark.timeout(900)


def lab(verb: str) -> None:
    done = subprocess.run(
        [ROOT / "deploy/compose/lab.sh", verb],
        capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"


@pytest.fixture(scope="module")
def engine(missing_part: Callable[[str, str], None]) -> docker.DockerClient:
    if "compose" not in os.environ.get("QNFV_REQUIRE_REAL", "").split(","):
        missing_part("compose", "builds images for minutes; list it in QNFV_REQUIRE_REAL to run it")
    return docker.from_env()


@pytest.fixture(scope="module")
def running(engine: docker.DockerClient) -> Iterator[docker.DockerClient]:
    lab("down")
    try:
        lab("up")
        yield engine
    finally:
        lab("down")


def parts(engine: docker.DockerClient) -> dict[str, Any]:
    found = engine.containers.list(all=True, filters=PROJECT)
    return {part.labels["com.docker.compose.service"]: part for part in found}


def run_in(engine: docker.DockerClient, service: str, program: str) -> tuple[int, str]:
    code, output = parts(engine)[service].exec_run(["python", "-c", program])
    return code, output.decode()


def test_the_main_job_was_done(running: docker.DockerClient) -> None:
    report = json.loads((FILES / "report.json").read_text())
    assert [step["name"] for step in report["steps"]] == [
        "key", "circuit", "announce", "stream", "place", "notify", "boot", "acknowledge",
    ]  # fmt: skip
    assert report["vim"] == "docker"
    assert report["page"]["status"] == 200
    assert report["key_pools"][0]["counts"]["CONSUMED"] >= 1
    assert report["path"]


def test_every_part_is_healthy_and_none_is_root(running: docker.DockerClient) -> None:
    found = parts(running)
    assert set(found) == SERVICES
    for name, part in found.items():
        assert part.attrs["State"]["Health"]["Status"] == "healthy", name
        uids = {row[0] for row in part.top(ps_args="-eo uid,pid")["Processes"]}
        assert "0" not in uids, name
        assert part.attrs["HostConfig"]["ReadonlyRootfs"], name


def test_only_loopback_is_published(running: docker.DockerClient) -> None:
    for part in parts(running).values():
        for bindings in part.attrs["NetworkSettings"]["Ports"].values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings or ())


def test_no_secret_is_seen_from_outside_its_file(running: docker.DockerClient) -> None:
    secrets = [(FILES / "secrets" / name).read_text().strip()
               for name in ("token", "database-password", "opendaylight-password")]  # fmt: skip
    for part in parts(running).values():
        seen = json.dumps(part.attrs) + part.logs().decode(errors="replace")
        assert not any(secret in seen for secret in secrets)


def test_the_records_are_in_mariadb(running: docker.DockerClient) -> None:
    code, output = parts(running)["database"].exec_run(
        ["mariadb", "--defaults-extra-file=/run/secrets/database-client", "--host=127.0.0.1",
         "--protocol=tcp", "--batch", "--skip-column-names",
         "--execute=SELECT COUNT(*) FROM operation", "qnfv"]
    )  # fmt: skip
    assert code == 0, output
    assert int(output) >= 2


def test_no_byte_reaches_the_data_centre_without_a_circuit(running: docker.DockerClient) -> None:
    program = (
        "import socket\n"
        "try:\n"  # the reset may come before the connection is told to be there
        "    s = socket.create_connection(('fibre-plant', 7101), 5)\n"
        "    print('open', s.recv(1))\n"
        "except ConnectionResetError: print('reset')"
    )
    assert run_in(running, "orchestrator", program) == (0, "reset\n")


def test_the_web_pages_are_served(running: docker.DockerClient) -> None:
    variables = dict(line.split("=", 1) for line in (FILES / "env").read_text().splitlines())
    url = f"http://127.0.0.1:{variables['QNFV_REST_PORT']}/"
    answer = httpx.get(url, headers={"Accept": "text/html"}, follow_redirects=True)
    assert answer.status_code == 200
    assert "text/html" in answer.headers["content-type"]
    assert "/sign-in" in str(answer.url)


def test_alice_cannot_even_name_the_database(running: docker.DockerClient) -> None:
    code, output = run_in(running, "alice", "import socket; socket.gethostbyname('database')")
    assert code != 0
    assert "gaierror" in output


@pytest.mark.skipif(os.geteuid() != 0, reason="kills a container's process from outside")
@pytest.mark.parametrize("service", ["orchestrator", "optical-agent"])
def test_a_killed_part_comes_back_and_the_main_job_is_done_again(
    running: docker.DockerClient, service: str
) -> None:
    before = parts(running)[service].attrs["State"]
    os.kill(before["Pid"], signal.SIGKILL)
    deadline = time.monotonic() + 60
    while parts(running)[service].attrs["State"]["StartedAt"] == before["StartedAt"]:
        assert time.monotonic() < deadline, "the engine did not start it again"
    lab("wait")
    lab("demo")


def test_nothing_stays_behind(running: docker.DockerClient) -> None:
    lab("down")
    assert parts(running) == {}
    assert running.volumes.list(filters=PROJECT) == []
    assert running.networks.list(filters=PROJECT) == []
    for number in (1, 2, 3):
        label = {"label": f"qnfv.data-centre=qnfv-compose-dc-{number}"}
        assert running.containers.list(all=True, filters=label) == []
    names = [tag for image in running.images.list() for tag in image.tags]
    assert not [tag for tag in names if "localhost/qnfv-" in tag or "qnfv-compose" in tag]
    assert not FILES.exists()
