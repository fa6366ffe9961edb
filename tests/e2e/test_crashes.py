"""After `kill -9` of the orchestrator or of a slave stack in any step, nothing stays half done."""

from __future__ import annotations

import pytest
from e2e_house import House

from orchestrator.vnf_lcm.steps import INSTANTIATE


def run_through_crash(
    house: House, doomed: object, image: str, name: str, service: str, where: str
) -> None:
    process = doomed(name, service, where)  # type: ignore[operator]
    deployment = house.deploy(image, "dc-2")
    house.until(lambda: process.pid is None, f"{name} dies at {where}")
    house.lab.restart(name)
    operation = house.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    assert [step["state"] for step in operation["steps"]] == ["DONE"] * len(INSTANTIATE)
    view = house.get(f"/api/v1/deployments/{deployment['deployment_id']}")
    assert view["state"] == "RUNNING"
    house.remove(deployment)
    house.assert_nothing_left()


@pytest.mark.parametrize("moment", ["begun", "done"])
@pytest.mark.parametrize("step", INSTANTIATE)
def test_the_orchestrator_dies_in_a_step(
    house: House, doomed: object, small_image: str, step: str, moment: str
) -> None:
    run_through_crash(
        house, doomed, small_image, "orchestrator", "orchestrator", f"{step}:{moment}"
    )


def test_the_orchestrator_dies_in_the_middle_of_a_stream(
    house: House, doomed: object, large_image: str
) -> None:
    run_through_crash(house, doomed, large_image, "orchestrator", "orchestrator", "stream:half")


@pytest.mark.parametrize(
    "where", ["announce", "ticket", "place", "placed", "notify", "boot", "acknowledge"]
)
def test_a_slave_stack_dies_in_a_step(
    house: House, doomed: object, small_image: str, where: str
) -> None:
    run_through_crash(house, doomed, small_image, "dc-2", "slave", where)


def test_a_slave_stack_dies_in_the_middle_of_a_stream(
    house: House, doomed: object, large_image: str
) -> None:
    run_through_crash(house, doomed, large_image, "dc-2", "slave", "stream")


def test_the_orchestrator_dies_while_it_rolls_back(
    house: House, doomed: object, small_image: str
) -> None:
    slave = house.lab.processes["dc-2"]
    process = doomed("orchestrator", "orchestrator", "announce:begun")  # type: ignore[operator]
    slave.kill()
    deployment = house.deploy(small_image, "dc-1")
    house.until(lambda: process.pid is None, "the orchestrator dies")
    house.lab.restart("orchestrator")
    house.lab.restart("dc-2")
    assert house.ended(deployment["operation_id"])["state"] == "COMPLETED"
    house.remove(deployment)
    house.assert_nothing_left()
