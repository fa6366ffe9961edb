"""Two orchestrators on one MariaDB and a Redis, under a real OpenDaylight: one may die any time."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import real_opendaylight
from doomed_services import restart_doomed
from e2e_house import DATA_CENTRES, House, docker_archive
from sqlalchemy import create_engine, text
from test_held_deployments import no_room_for_instances
from vnf_of_members import Vnf, let_go, onboard, two_containers

from emulators.lab.lab import Lab, LabOptions
from orchestrator.cli.client import OrchestratorClient, UnreachableError

pytestmark = pytest.mark.timeout(400)  # OpenDaylight's start alone may take a minute
TAKEN_UP = "operation is taken up"


class Replicated(House):
    """A house with two orchestrators; it asks whichever answers."""

    def __init__(self, lab: Lab, database_url: str) -> None:
        super().__init__(lab)
        token = lab.layout.token_file.read_text().strip()
        self.clients = [OrchestratorClient(lab.layout.rest_url_of(n), token) for n in (1, 2)]
        self.ask_first = [1, 2]
        self.database = create_engine(database_url)

    def ask(self, replica: int, path: str) -> Any:
        return self.clients[replica - 1].get(path)

    def get(self, path: str, timeout_s: float = 60.0) -> Any:
        deadline_s = time.monotonic() + timeout_s
        while True:
            for replica in self.ask_first:
                try:
                    return self.ask(replica, path)
                except UnreachableError:
                    continue
            assert time.monotonic() < deadline_s, f"no replica answers {path}"
            time.sleep(0.05)  # a poll of other processes, bounded by the deadline

    def freeze(self, replica: int, *, thaw: bool = False) -> None:
        process = self.lab.processes[self.lab.orchestrators[replica - 1]]
        assert process.pid is not None
        # Who asks one that is frozen waits for as long as he has patience.
        self.ask_first = [3 - replica, replica]
        process.thaw() if thaw else process.freeze()

    def kill(self, replica: int) -> None:
        self.lab.processes[self.lab.orchestrators[replica - 1]].kill()

    def restart(self, replica: int) -> None:
        self.lab.restart(self.lab.orchestrators[replica - 1])

    def holder_of(self, operation_id: str) -> int | None:
        """The replica that took it up last, and how often it was taken up is what they logged."""
        takings = [
            (entry["timestamp"], number)
            for number in (1, 2)
            for entry in self.logged(number, TAKEN_UP)
            if entry["operation"] == operation_id
        ]
        return max(takings)[1] if takings else None

    def logged(self, replica: int, event: str) -> list[dict[str, Any]]:
        log = self.lab.processes[self.lab.orchestrators[replica - 1]].log_file
        lines = [line for line in log.read_text().splitlines() if event in line]
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def one_on_its_way(self, operation_ids: list[str], timeout_s: float = 60.0) -> str:
        """The first of these operations that is seen while its image is on its way."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            for operation_id in operation_ids:
                steps = self.get(f"/api/v1/operations/{operation_id}")["steps"]
                if any(step["name"] == "stream" and step["state"] == "RUNNING" for step in steps):
                    return operation_id
        raise AssertionError("no image was ever seen on its way")

    def assert_done_once(self, operation_ids: list[str]) -> None:
        """What a second run of a step would have left twice."""
        instances = [
            path
            for name in DATA_CENTRES
            for path in (self.lab.layout.folder / name / "vim" / "instances").glob("*")
        ]
        running = [d for d in self.get("/api/v1/deployments") if d["state"] == "RUNNING"]
        assert len(instances) == len(running)
        twice = "SELECT link, key_id FROM key_use GROUP BY link, key_id HAVING COUNT(*) > 1"
        assert self.rows(twice) == []
        for operation_id in operation_ids:
            records = self.get(f"/api/v1/audit?subject={operation_id}")["records"]
            ends = [record for record in records if record["action"].startswith("operation ")]
            assert len(ends) == 1, records

    def rows(self, statement: str) -> list[Any]:
        with self.database.connect() as connection:
            return list(connection.execute(text(statement)))


@pytest.fixture(scope="module")
def replicated(
    mariadb_server: str,
    redis_server: object,
    tmp_path_factory: pytest.TempPathFactory,
    missing_part: Callable[[str, str], None],
) -> Iterator[Replicated]:
    del redis_server  # the laboratory starts one of its own; this says where none is installed
    if why := real_opendaylight.why_missing():
        missing_part("opendaylight", why)
    name = f"qnfv_{uuid4().hex}"
    admin = create_engine(mariadb_server)
    with admin.begin() as connection:
        connection.execute(
            text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        )
    url = f"{mariadb_server}/{name}"
    lab = Lab(
        tmp_path_factory.mktemp("lab") / "state",
        LabOptions(
            time_scale=2000.0,
            controller="opendaylight",
            replicas=2,
            database_url=url,
            pool_target_keys=64,
            overrides=(
                ("orchestrator", "workers", 2),
                # So long a data centre holds on to what a frozen replica was sending.
                *((name, "intake.stall_timeout_s", 10.0) for name in DATA_CENTRES),
            ),
        ),
    )
    lab.up()
    house = Replicated(lab, url)
    yield house
    lab.down()
    house.database.dispose()


@pytest.fixture(scope="module")
def image(replicated: Replicated, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Added at the first replica, and so there for both; no zero record shortens it, and it is on
    its way for long enough to be struck."""
    payload = hashlib.shake_256(b"an image for replicas").digest(96_000_000)
    file = docker_archive(tmp_path_factory.mktemp("image") / "i.tar", payload)
    return str(replicated.clients[0].add_image(file, "for-replicas")["digest"])


def test_either_is_asked_and_both_work(replicated: Replicated, image: str) -> None:
    def deploy(number: int) -> dict[str, Any]:
        document = {"image": image, "data_centre": DATA_CENTRES[number % 3], "wait_s": 120}
        answer: dict[str, Any] = replicated.clients[number % 2].post(
            "/api/v1/deployments", document
        )
        return answer

    with ThreadPoolExecutor(9) as people:
        deployments = list(people.map(deploy, range(9)))
    operations = [each["operation_id"] for each in deployments]
    for number, operation_id in enumerate(operations):
        assert replicated.ended(operation_id)["state"] == "COMPLETED"
        other = replicated.ask(2 - number % 2, f"/api/v1/operations/{operation_id}")
        assert other["state"] == "COMPLETED"
    assert {replicated.holder_of(operation_id) for operation_id in operations} == {1, 2}
    replicated.assert_done_once(operations)
    for deployment in deployments:
        replicated.remove(deployment)
    replicated.assert_nothing_left()


@pytest.mark.parametrize("way", ["killed", "frozen"])
def test_work_of_one_that_falls_out_is_taken_over(
    replicated: Replicated, image: str, way: str
) -> None:
    deployments = [replicated.deploy(image, name) for name in DATA_CENTRES for _ in range(2)]
    operations = [each["operation_id"] for each in deployments]
    held = replicated.one_on_its_way(operations)
    fallen = replicated.holder_of(held)
    assert fallen is not None
    began_s = time.monotonic()
    if way == "killed":
        replicated.kill(fallen)
    else:
        replicated.freeze(fallen)
    replicated.until(lambda: replicated.holder_of(held) == 3 - fallen, "it is taken over", 90)
    print(f"taken over {time.monotonic() - began_s:.1f} s after its replica was {way}")
    for operation_id in operations:
        assert replicated.ended(operation_id)["state"] == "COMPLETED"
    before = replicated.get(f"/api/v1/operations/{held}")
    if way == "killed":
        replicated.restart(fallen)
    else:
        replicated.freeze(fallen, thaw=True)
        replicated.until(
            lambda: bool(replicated.logged(fallen, "a claim was lost")),
            "the older one hears of it",
        )
    assert replicated.get(f"/api/v1/operations/{held}") == before
    replicated.assert_done_once(operations)
    for deployment in deployments:
        replicated.remove(deployment)
    replicated.assert_nothing_left()


def test_a_jobboard_that_forgets_everything_costs_nothing(
    replicated: Replicated, image: str
) -> None:
    deployments = [replicated.deploy(image, name) for name in DATA_CENTRES]
    operations = [each["operation_id"] for each in deployments]
    replicated.one_on_its_way(operations)
    replicated.lab.processes["redis"].kill()
    replicated.lab.restart("redis")
    for operation_id in operations:
        assert replicated.ended(operation_id)["state"] == "COMPLETED"
    replicated.assert_done_once(operations)
    for deployment in deployments:
        replicated.remove(deployment)
    replicated.assert_nothing_left()


def test_a_cancellation_at_the_other_one_is_heard(replicated: Replicated, image: str) -> None:
    deployment = replicated.deploy(image, "dc-3")
    operation_id = deployment["operation_id"]
    replicated.until(lambda: replicated.holder_of(operation_id) is not None, "it is taken up")
    holder = replicated.holder_of(operation_id)
    assert holder is not None
    replicated.clients[2 - holder].post(f"/api/v1/operations/{operation_id}/cancel", {})
    assert replicated.ended(operation_id)["state"] == "ROLLED_BACK"
    replicated.assert_nothing_left()


def test_a_vnf_of_members_goes_on_at_the_other(
    replicated: Replicated, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It comes up whole, or is taken back whole, whichever replica decided last."""
    made = two_containers(tmp_path_factory.mktemp("members"), "replicated")
    package = onboard(replicated, made)
    vnf = Vnf(replicated, made.vnfd_id)
    vnf.instantiate(data_centres=list(DATA_CENTRES))
    replicated.kill(1)
    done = vnf.rests("INSTANTIATE")
    assert done["operationState"] == "COMPLETED", done.get("error")
    assert vnf.count() == 6
    replicated.restart(1)
    replicated.assert_done_once([each["operationId"] for each in done["members"]])
    vnf.end()
    replicated.assert_nothing_left()

    vnf = Vnf(replicated, made.vnfd_id)
    with no_room_for_instances(replicated, "dc-2"):
        vnf.instantiate(data_centres=list(DATA_CENTRES))
        replicated.until(
            lambda: vnf.newest()["operationState"] == "ROLLING_BACK", "one turns all back"
        )
        replicated.kill(1)
    assert vnf.rests("INSTANTIATE")["operationState"] == "ROLLED_BACK"
    replicated.restart(1)
    replicated.client.delete(vnf.path)
    let_go(replicated, package)
    replicated.assert_nothing_left()


def test_removals_that_one_did_not_begin_any_more_begin_at_the_other(
    replicated: Replicated, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It died when all that a scaling adds was there, and nothing else was recorded."""
    made = two_containers(tmp_path_factory.mktemp("members"), "taken-over", both_scale=True)
    package = onboard(replicated, made)
    vnf = Vnf(replicated, made.vnfd_id)
    vnf.instantiate(data_centre="dc-1")
    assert vnf.rests("INSTANTIATE")["operationState"] == "COMPLETED"
    process = restart_doomed(replicated, "orchestrator", "orchestrator", "members/all-added")
    replicated.kill(2)  # or it might lead, and begin them
    vnf.ask("scale_to_level", instantiationLevelId="deep")
    replicated.until(lambda: process.pid is None, "it dies between the two", 120.0)
    replicated.restart(2)
    done = vnf.rests("SCALE_TO_LEVEL")
    assert done["operationState"] == "COMPLETED", done.get("error")
    replicated.restart(1)
    assert sorted(each["changeType"] for each in done["members"]) == [
        *["ADDED"] * 2,
        *["REMOVED"] * 2,
    ]
    replicated.assert_done_once([each["operationId"] for each in done["members"]])
    vnf.end()
    let_go(replicated, package)
    replicated.assert_nothing_left()
