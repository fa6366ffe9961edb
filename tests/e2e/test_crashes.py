"""After `kill -9` of the orchestrator or of a slave stack in any step, nothing stays half done."""

from __future__ import annotations

from uuid import UUID

import pytest
from e2e_house import House
from sqlalchemy import create_engine, select

from key_management.tables import KeyRow
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


def test_a_key_whose_announcement_never_came_is_burned_at_both_ends(
    house: House, doomed: object, small_image: str
) -> None:
    orchestrator = doomed("orchestrator", "orchestrator", "announce:begun")  # type: ignore[operator]
    deployment = house.deploy(small_image, "dc-2")
    house.until(lambda: orchestrator.pid is None, "the orchestrator dies")
    house.lab.processes["dc-2"].kill()
    house.lab.restart("orchestrator")
    path = f"/api/v1/operations/{deployment['operation_id']}"
    house.client.post(f"{path}/cancel", {})
    house.until(lambda: house.get(path)["state"] == "ROLLING_BACK", "it is undone")
    house.lab.restart("dc-2")
    operation = house.ended(deployment["operation_id"])
    assert operation["state"] == "ROLLED_BACK"
    key_id = UUID(next(s for s in operation["steps"] if s["name"] == "key")["detail"]["key_id"])
    folder = house.lab.layout.folder
    for store in ("orchestrator/orchestrator.sqlite", "dc-2/slave.sqlite"):
        engine = create_engine(f"sqlite:///{folder / store}")
        with engine.connect() as connection:
            assert (
                connection.scalar(select(KeyRow.state).where(KeyRow.key_id == key_id)) == "BURNED"
            )
        engine.dispose()
    house.assert_nothing_left()
