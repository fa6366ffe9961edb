"""A fibre is cut in the middle of a transfer: the circuit is led around, the image arrives."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from e2e_house import docker_archive
from turn_lab import TurnHouse
from typer.testing import CliRunner

from emulators.lab import cli as lab_cli
from emulators.lab.lab import Lab, LabOptions
from emulators.lab.plans import PAPER, LabPlan
from orchestrator.cli.client import RefusedError

_SPARE_JUMPER = """
[[fibres]]
name = "jumper-3-spare"
a = "polatis-1:10"
b = "polatis-1:27"
km = 0.01
kind = "classical"
"""
_FIRST_WAY = ["polatis-1:5-9", "polatis-1:25-26"]
_OTHER_WAY = ["polatis-1:5-10", "polatis-1:26-27"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnHouse]:
    folder = tmp_path_factory.mktemp("lost-fibre")
    topology = folder / "two-jumpers.toml"
    topology.write_text(PAPER.topology_file.read_text() + _SPARE_JUMPER)
    plan = LabPlan(PAPER.name, PAPER.title, topology, PAPER.sites)
    options = LabOptions(time_scale=2000.0, pool_target_keys=24, key_capacity=48)
    lab = Lab(folder / "lab", options, plan)
    lab.up()
    running = TurnHouse(lab)
    yield running
    running.light.close()
    lab.down()


@pytest.fixture(autouse=True)
def light_at_the_end(house: TurnHouse) -> Iterator[None]:
    """No test leaves a cut fibre to the next."""
    yield
    for fibre in ("jumper-3", "jumper-3-spare"):
        house.light.repair(fibre)
    house.until(
        lambda: all(f["state"] == "ok" for f in house.get("/api/v1/network")["fibres"]),
        "the repair is seen",
    )


def circuit_to(house: TurnHouse, end_point: str) -> dict[str, object] | None:
    for circuit in house.get("/api/v1/circuits")["circuits"]:
        if circuit["to_end_point"] == end_point:
            found: dict[str, object] = circuit
            return found
    return None


def test_an_image_arrives_over_another_way_when_its_fibre_is_cut(
    house: TurnHouse, tmp_path_factory: pytest.TempPathFactory
) -> None:
    house.until(lambda: house.pool("dc-3")["level_keys"] > 0, "keys for dc-3")
    # Large, so that the cut comes before its end.
    payload = random.Random(1).randbytes(200_000_000) * 4
    file = docker_archive(tmp_path_factory.mktemp("images") / "large.tar", payload)
    image = house.client.add_image(file, "large")["digest"]
    deployment = house.deploy(image, "dc-3")
    path = f"/api/v1/operations/{deployment['operation_id']}"
    house.until(lambda: house.get(path)["bytes_sent"] > 1_000_000, "bytes flow")
    before = circuit_to(house, "dc-3")
    assert before is not None
    assert before["cross_connects"] == _FIRST_WAY
    house.light.cut("jumper-3")
    operation = house.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    stream = next(step for step in operation["steps"] if step["name"] == "stream")
    assert stream["detail"]["attempts"] > 1, "the cut came in the middle"

    network = house.get("/api/v1/network")
    fibres = {fibre["name"]: fibre["state"] for fibre in network["fibres"]}
    assert fibres["jumper-3"] == "lost"
    assert fibres["jumper-3-spare"] == "ok"
    again = house.client.post(
        "/api/v1/circuits", {"from_end_point": "node-1", "to_end_point": "dc-3"}
    )
    assert again["cross_connects"] == _OTHER_WAY
    house.client.delete(f"/api/v1/circuits/{again['circuit_id']}")
    house.remove(deployment)
    house.client.delete(f"/api/v1/images/{image}")
    house.assert_nothing_left()


def test_a_circuit_that_stands_is_led_around_while_its_owner_keeps_it(house: TurnHouse) -> None:
    made = house.client.post(
        "/api/v1/circuits", {"from_end_point": "co-2", "to_end_point": "dc-3", "owner": "ann"}
    )
    told = CliRunner().invoke(
        lab_cli.app, ["cut", "jumper-3", "--state-dir", str(house.lab.layout.folder)]
    )
    assert told.exit_code == 0, told.output
    path = f"/api/v1/circuits/{made['circuit_id']}"

    def elsewhere() -> bool:
        circuit = house.get(path)
        return bool(
            circuit["cross_connects"] != made["cross_connects"] and circuit["state"] == "up"
        )

    house.until(elsewhere, "the circuit is led around")
    circuit = house.get(path)
    assert circuit["owners"] == made["owners"]
    assert circuit["lost_at"] == []
    assert all(one["in_step"] for one in house.get("/api/v1/network/drift"))
    house.light.cut("jumper-3-spare")
    house.until(lambda: bool(house.get(path)["lost_at"]), "there is no other way, and it says so")
    with pytest.raises(RefusedError, match="no classical path"):
        house.client.get("/api/v1/network/paths", from_end_point="node-1", to_end_point="dc-3")
    house.light.repair("jumper-3-spare")
    house.until(lambda: house.get(path)["lost_at"] == [], "its light is back")
    house.client.delete(path)
