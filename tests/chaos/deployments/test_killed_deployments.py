"""Deployments live on while orchestrators, slave stacks and the line to Docker are struck.

`QNFV_BLOWS` says how often (10 by default; `make chaos-deployments` 50), half of them with one
orchestrator and half with two that share a jobboard and are frozen at times; `QNFV_SEED` says which
ones.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
import real_opendaylight
import real_redis
from blows import Blows
from books import Books
from chaos_house import ENGINE_SOCKET, ChaosHouse
from docker.errors import DockerException
from librarian import Librarian
from people import Person
from story import Story

BLOWS = int(os.environ.get("QNFV_BLOWS", "10"))
SEED = int(os.environ.get("QNFV_SEED", "20261126"))
_PEOPLE = 8
_LAST_LIVES_S = 300.0
_IN_STEP_S = 30.0

pytestmark = [
    pytest.mark.real("mariadb"),
    pytest.mark.real("docker"),
    pytest.mark.timeout(600 + 30 * BLOWS),
]


@pytest.fixture(params=[1, 2], ids=["one orchestrator", "two replicas"])
def house(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    mariadb_server: str,
    missing_part: Callable[[str, str], None],
) -> Iterator[ChaosHouse]:
    replicas: int = request.param
    if replicas > 1 and (why := real_redis.why_missing()):
        missing_part("redis", why)
    if replicas > 1 and (why := real_opendaylight.why_missing()):
        missing_part("opendaylight", why)
    try:
        docker.DockerClient(base_url=f"unix://{ENGINE_SOCKET}").ping()
    except DockerException as error:
        missing_part("docker", str(error))
    made = ChaosHouse(tmp_path, mariadb_server, replicas)
    try:
        made.up()
        yield made
    finally:
        made.down()


def test_every_operation_completes_or_is_rolled_back_and_nothing_is_left(
    house: ChaosHouse, tmp_path: Path
) -> None:
    story, over = Story(SEED, tmp_path / "story"), threading.Event()
    blows, books = Blows(house, story), Books(house)
    people = [
        *(Person(number, house, story, over) for number in range(1, _PEOPLE + 1)),
        Librarian(house, story, over, tmp_path),
    ]
    for person in people:
        person.start()
    while len(blows.struck) < BLOWS // 2 and not story.faults:
        blows.strike()
    over.set()
    for person in people:
        person.join(_LAST_LIVES_S)
    unfinished = [person.name for person in people if person.is_alive()]
    differences = [*story.faults, *(f"{name} never finished" for name in unfinished)]
    if not differences:

        def agree() -> bool:  # in the middle of a turn of Alice the switch is ahead, or behind
            differences[:] = books.told_differences()
            return not differences

        house.until(agree, _IN_STEP_S)
    house.stop_orchestrators()
    if not differences:
        differences = books.differences()
    for difference in differences:
        story.note(f"DIFFERENCE {difference}")
    did = sum((person.did for person in people), Counter[str]())
    states = Counter(f"{row.kind} {row.state}" for row in books.operations())
    report = "\n".join(
        [
            f"{house.replicas} orchestrators, {story.at_s:.0f} s, seed {SEED}; {blows.report()}",
            "asked: " + ", ".join(f"{what} {count}" for what, count in sorted(did.items())),
            "ended: " + ", ".join(f"{what} {count}" for what, count in sorted(states.items())),
        ]
    )
    print(f"\n{report}")
    assert not differences, "\n".join(
        [
            f"{len(differences)} differences:",
            *differences,
            *books.operations_in("\n".join(differences)),
            story.told(),
            report,
        ]
    )
