"""What the compose lab is made from: the compose file, the files its containers are given, and the
health check that they run."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from idq3p.unit_agent.settings import UnitAgentSettings
from nfv_stack.settings import SlaveSettings
from orchestrator.settings import OrchestratorSettings
from sdn_client.optical_agent.settings import OpticalAgentSettings
from sdn_client.topology import load_topology

ROOT = Path(__file__).parents[3]
HEALTHCHECK = ROOT / "deploy/docker/healthcheck.py"


@pytest.fixture(scope="module")
def compose_file() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


@pytest.fixture
def engine_socket(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        yield path


def prepare(
    folder: Path, engine_socket: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "deploy/compose/prepare.py", folder,
         "--docker-socket", engine_socket, "--vim-owner", "compose"],
        env={**os.environ, **variables}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def variables_in(folder: Path) -> dict[str, str]:
    lines = (folder / "env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


# --- the compose file -----------------------------------------------------------------------------


def test_it_is_readable_by_compose_1_and_2(compose_file: dict[str, Any]) -> None:
    assert "version" not in compose_file
    assert "name" not in compose_file
    for service in compose_file["services"].values():
        assert "container_name" not in service
        assert "build" not in service


def test_every_service_has_a_healthcheck_and_waits_for_healthy_ones(
    compose_file: dict[str, Any],
) -> None:
    services = compose_file["services"]
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        for other, wanted in service.get("depends_on", {}).items():
            assert other in services
            assert wanted == {"condition": "service_healthy"}


def test_only_rest_is_published_and_on_loopback(compose_file: dict[str, Any]) -> None:
    published = {n: s["ports"] for n, s in compose_file["services"].items() if "ports" in s}
    assert set(published) == {"orchestrator"}
    assert all(port.startswith("127.0.0.1:") for port in published["orchestrator"])


def test_no_container_has_more_power_than_it_needs(compose_file: dict[str, Any]) -> None:
    for name, service in compose_file["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service
        mounts_socket = any("docker.sock" in volume for volume in service.get("volumes", ()))
        assert mounts_socket == name.startswith("dc-")


def test_the_database_is_apart_from_all_but_the_orchestrator(compose_file: dict[str, Any]) -> None:
    services = compose_file["services"]
    assert services["database"]["networks"] == ["store"]
    assert [n for n, s in services.items() if "store" in s["networks"]] == [
        "database",
        "orchestrator",
    ]


# --- what prepare writes --------------------------------------------------------------------------


def test_the_services_understand_their_settings(tmp_path: Path, engine_socket: Path) -> None:
    done = prepare(tmp_path / "lab", engine_socket)
    assert done.returncode == 0, done.stderr
    settings = tmp_path / "lab/settings"
    orchestrator = OrchestratorSettings.load(settings / "orchestrator/settings.toml")
    alice = UnitAgentSettings.load(settings / "alice/settings.toml")
    agent = OpticalAgentSettings.load(settings / "optical-agent/settings.toml")
    topology = load_topology(settings / "orchestrator/topology.toml")

    assert [centre.name for centre in orchestrator.data_centres] == ["dc-1", "dc-2", "dc-3"]
    relays = set()
    for number, centre in enumerate(orchestrator.data_centres, 1):
        slave = SlaveSettings.load(settings / f"dc-{number}/settings.toml")
        bob = UnitAgentSettings.load(settings / f"bob-{number}/settings.toml")
        assert centre.name == slave.name
        assert centre.link == slave.links[0].name
        assert bob.callers == [f"slave:{slave.name}"]
        for end_point in (centre.end_point, centre.bob_end_point, bob.name, alice.name):
            assert topology.end_point_named(end_point)
        assert slave.intake.advertised_host == "fibre-plant"
        relays.add(slave.intake.advertised_port)
    assert relays == {7101, 7102, 7103}
    assert orchestrator.controller.driver == "opendaylight"
    assert agent.chassis == topology.chassis[0].name


def test_the_addresses_are_those_of_the_compose_file(
    tmp_path: Path, engine_socket: Path, compose_file: dict[str, Any]
) -> None:
    prepare(tmp_path, engine_socket, QNFV_SUBNET="192.168.77")
    orchestrator = OrchestratorSettings.load(tmp_path / "settings/orchestrator/settings.toml")

    def address(service: str, network: str) -> str:
        written: str = compose_file["services"][service]["networks"][network]["ipv4_address"]
        return written.replace("${QNFV_SUBNET:-10.253.53}", "192.168.77")

    assert orchestrator.alice.source_options["address"] == address("alice", "node-1")
    for number, centre in enumerate(orchestrator.data_centres, 1):
        slave = SlaveSettings.load(tmp_path / f"settings/dc-{number}/settings.toml")
        assert centre.bob_address == address(f"bob-{number}", "channel")
        assert slave.links[0].source_options["address"] == address(
            f"bob-{number}", f"node-{number + 1}"
        )


def test_secrets_stand_in_their_own_files_alone(tmp_path: Path, engine_socket: Path) -> None:
    folder = tmp_path / "lab"
    prepare(folder, engine_socket)
    assert folder.stat().st_mode & 0o777 == 0o700
    hidden = [(folder / "secrets" / name).read_text().strip() for name in
              ("token", "database-password", "opendaylight-password", "alice.key",
               "orchestrator.key")]  # fmt: skip
    elsewhere = [file for file in folder.rglob("*") if file.is_file() and
                 file.parent.name != "secrets"]  # fmt: skip
    assert len(elsewhere) > 10
    for file in elsewhere:
        text = file.read_text()
        assert not any(secret in text for secret in hidden), file
    assert not list((folder / "settings").rglob("authority.key"))


def test_a_second_preparation_keeps_the_identity(tmp_path: Path, engine_socket: Path) -> None:
    folder = tmp_path / "lab"
    prepare(folder, engine_socket)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert prepare(folder, engine_socket).returncode == 0
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_a_taken_port_is_passed_over(tmp_path: Path, engine_socket: Path) -> None:
    prepare(tmp_path / "first", engine_socket)
    port = int(variables_in(tmp_path / "first")["QNFV_REST_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        prepare(tmp_path / "second", engine_socket)
    assert int(variables_in(tmp_path / "second")["QNFV_REST_PORT"]) > port


def test_a_missing_engine_is_told(tmp_path: Path) -> None:
    done = prepare(tmp_path / "lab", tmp_path / "no.sock")
    assert done.returncode == 1
    assert "no.sock" in done.stderr
    assert "Start the engine" in done.stderr
    assert "Traceback" not in done.stderr


# --- the health check -----------------------------------------------------------------------------


def check(*arguments: str) -> int:
    command = [sys.executable, "-IS", str(HEALTHCHECK), *arguments]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode


@pytest.mark.parametrize(("status", "verdict"), [(200, 0), (503, 1)])
def test_health_of_rest(status: int, verdict: int) -> None:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/api/v1/health" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            assert check("rest", str(server.server_port)) == verdict
        finally:
            server.shutdown()


def test_health_of_the_fibre_plant_and_of_a_switch_that_it_sees(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    assert check("plant", "127.0.0.1", port) == 1
    topology = ROOT / "emulators/lab/topology.toml"
    plant = subprocess.Popen(
        [sys.executable, "-m", "emulators.fibre_plant", "--topology", topology,
         "--control", f"127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while check("plant", "127.0.0.1", port) != 0:
            assert plant.poll() is None
            assert time.monotonic() < deadline
        assert check("plant", "127.0.0.1", port, "polatis-1") == 1
        with socket.create_connection(("127.0.0.1", int(port))) as switch:
            switch.sendall(b'{"hello": "switch", "chassis": "polatis-1"}\n')
            while check("plant", "127.0.0.1", port, "polatis-1") != 0:
                assert time.monotonic() < deadline
    finally:
        plant.terminate()
        plant.wait(10)


def test_health_of_who_listens_without_being_called() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert check("listens", port) == 0
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()  # nobody called
    assert check("listens", port) == 1
