"""An instance is stopped, started, lost and healed; what its VIM says is shown all the while."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from e2e_house import House

from orchestrator.cli.client import RefusedError
from orchestrator.vnf_lcm.steps import HEAL, HEAL_IN_PLACE


def view(house: House, deployment: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = house.get(f"/api/v1/deployments/{deployment['deployment_id']}")
    return found


def change(house: House, deployment: dict[str, Any], action: str, **document: Any) -> list[str]:
    """The steps that it took."""
    path = f"/api/v1/deployments/{deployment['deployment_id']}/{action}"
    operation = house.ended(house.client.post(path, document)["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    return [step["name"] for step in operation["steps"]]


def page(house: House, deployment: dict[str, Any]) -> int:
    (end_point,) = view(house, deployment)["instance"]["end_points"]
    return httpx.get(f"http://{end_point['host']}:{end_point['host_port']}/").status_code


def test_the_life_of_an_instance(house: House, small_image: str) -> None:
    deployment = house.deploy(small_image, "dc-3", name="lively")
    first = house.ended(deployment["operation_id"])
    house.until(lambda: view(house, deployment)["vim_state"] == "RUNNING", "it is seen")
    assert view(house, deployment)["drift"] is None
    assert view(house, deployment)["allowed_actions"] == ["stop", "start", "heal", "remove"]
    path = f"/api/v1/deployments/{deployment['deployment_id']}"
    assert house.get(f"{path}/instance")["image_held"] is True
    assert "executes nothing" in house.client.get(f"{path}/console", lines=5)["text"]

    assert change(house, deployment, "operate", change_to="STOPPED") == ["stop"]
    assert view(house, deployment)["state"] == "STOPPED"
    assert house.get(f"{path}/instance")["state"] == "STOPPED"
    change(house, deployment, "operate", change_to="STARTED")
    assert view(house, deployment)["state"] == "RUNNING"
    assert page(house, deployment) == 200

    # Somebody takes the instance out of the VIM, then its image too.
    vim = house.lab.layout.folder / "dc-3" / "vim"
    (vim / "instances" / f"{deployment['deployment_id']}.json").unlink()
    house.until(lambda: view(house, deployment)["drift"] is not None, "the drift is seen")
    assert view(house, deployment)["drift"] == "the VIM has no such instance"
    assert deployment["deployment_id"] in {a["subject"] for a in house.get("/api/v1/alarms")}
    assert change(house, deployment, "heal") == list(HEAL_IN_PLACE)
    assert page(house, deployment) == 200
    for file in (vim / "images").iterdir():
        file.unlink()
    assert change(house, deployment, "heal", wait_s=60) == list(HEAL)
    assert page(house, deployment) == 200
    assert view(house, deployment)["state"] == "RUNNING"
    keys = {
        transfer["key_id"]
        for transfer in house.get("/api/v1/transfers")
        if transfer["image_digest"] == small_image and transfer["data_centre"] == "dc-3"
    }
    assert first["steps"][0]["detail"]["key_id"] in keys
    assert len(keys) >= 2, "it was sent again under a key of its own"

    house.remove(deployment)
    with pytest.raises(RefusedError, match="has no instance of lively") as refused:
        house.client.get(f"{path}/instance")
    assert refused.value.problem.status == 404
    with pytest.raises(RefusedError, match="REMOVED"):
        change(house, deployment, "heal")
    house.assert_nothing_left()


def test_the_orchestrator_dies_while_it_heals(house: House, doomed: Any, small_image: str) -> None:
    deployment = house.deploy(small_image, "dc-2")
    house.ended(deployment["operation_id"])
    orchestrator = doomed("orchestrator", "orchestrator", "recreate:done")
    path = f"/api/v1/deployments/{deployment['deployment_id']}/heal"
    operation_id = house.client.post(path, {})["operation_id"]
    house.until(lambda: orchestrator.pid is None, "the orchestrator dies")
    house.lab.restart("orchestrator")
    assert house.ended(operation_id)["state"] == "COMPLETED"
    assert view(house, deployment)["state"] == "RUNNING"
    assert page(house, deployment) == 200
    house.remove(deployment)
    house.assert_nothing_left()
