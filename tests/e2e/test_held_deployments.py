"""A deployment that is held after a failure, through `kill -9`, to each of its ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from e2e_house import House, docker_archive

from orchestrator.cli.client import RefusedError, UnreachableError


def held(house: House, deployment: dict[str, Any]) -> dict[str, Any]:
    path = f"/api/v1/operations/{deployment['operation_id']}"
    house.until(lambda: house.get(path)["state"] == "FAILED_TEMP", "it is held")
    document: dict[str, Any] = house.get(path)
    assert document["allowed_actions"] == ["retry", "rollback", "fail"]
    assert document["error"]["detail"]
    assert house.get(f"/api/v1/deployments/{deployment['deployment_id']}")["state"] == "DEPLOYING"
    return document


def ask(house: House, operation: dict[str, Any], action: str) -> None:
    house.client.post(f"/api/v1/operations/{operation['operation_id']}/{action}", {})


def state_of(house: House, deployment: dict[str, Any]) -> str:
    return str(house.get(f"/api/v1/deployments/{deployment['deployment_id']}")["state"])


@contextmanager
def no_room_for_instances(house: House, data_centre: str) -> Iterator[None]:
    """The data centre's VIM can hold images, but no instance."""
    folder = house.lab.layout.folder / data_centre / "vim" / "instances"
    folder.rmdir()
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        folder.mkdir()


def test_a_retry_takes_a_new_key(house: House, tmp_path: Path) -> None:
    image = house.client.add_image(docker_archive(tmp_path / "sick.tar", b"sick" * 99_999), "sick")
    file = house.lab.layout.folder / "orchestrator" / "catalogue" / "images" / image["digest"]
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    deployment = house.deploy(image["digest"], "dc-1", on_failure="hold")
    first = held(house, deployment)
    assert first["left_behind"] == []
    house.assert_nothing_left()  # no circuit and no key is kept while people think
    with pytest.raises(RefusedError, match="DEPLOYING") as refused:
        house.client.delete(f"/api/v1/deployments/{deployment['deployment_id']}")
    assert refused.value.problem.model_dump()["state"] == "DEPLOYING"

    house.lab.processes["orchestrator"].kill()
    house.lab.restart("orchestrator")
    assert held(house, deployment)["tries"] == 1
    file.write_bytes(whole)
    ask(house, first, "retry")
    second = house.ended(deployment["operation_id"])
    assert (second["state"], second["tries"]) == ("COMPLETED", 2), second["error"]
    assert state_of(house, deployment) == "RUNNING"
    assert second["transfer_id"] != first["transfer_id"]
    tries = [
        transfer
        for transfer in house.get("/api/v1/transfers")
        if transfer["operation_id"] == deployment["operation_id"]
    ]
    assert len({transfer["key_id"] for transfer in tries}) == len(tries) == 2
    with pytest.raises(RefusedError, match="COMPLETED") as refused:
        ask(house, second, "cancel")
    assert refused.value.problem.status == 409
    assert refused.value.problem.model_dump()["allowed_actions"] == []
    house.remove(deployment)
    house.client.delete(f"/api/v1/images/{image['digest']}")
    house.assert_nothing_left()


def test_an_image_that_arrived_is_not_sent_again(house: House, small_image: str) -> None:
    with no_room_for_instances(house, "dc-1"):
        deployment = house.deploy(small_image, "dc-1", on_failure="hold")
        first = held(house, deployment)
    assert "the image in the VIM" in first["left_behind"]
    assert not [c for c in house.get("/api/v1/circuits")["circuits"] if "image" in c["purpose"]]
    ask(house, first, "retry")
    second = house.ended(deployment["operation_id"])
    assert second["state"] == "COMPLETED", second["error"]
    assert second["transfer_id"] == first["transfer_id"]
    assert {s["name"]: s["runs"] for s in second["steps"]}["stream"] == 1
    house.remove(deployment)
    house.assert_nothing_left()


@pytest.mark.parametrize("end", ["fail", "rollback"])
def test_what_was_kept_goes_with_the_deployment(house: House, small_image: str, end: str) -> None:
    with no_room_for_instances(house, "dc-1"):
        deployment = house.deploy(small_image, "dc-1", on_failure="hold")
        operation = held(house, deployment)
    ask(house, operation, end)
    ended = house.ended(deployment["operation_id"])
    assert ended["state"] == {"fail": "FAILED", "rollback": "ROLLED_BACK"}[end]
    assert state_of(house, deployment) == "FAILED"
    if end == "fail":
        images = house.lab.layout.folder / "dc-1" / "vim" / "images"
        assert list(images.glob("*")), "it was given up as it was"
        assert "the image in the VIM" in ended["left_behind"]
        house.remove(deployment)
    house.assert_nothing_left()


def test_a_cancellation_survives_the_orchestrator(
    house: House, doomed: Any, small_image: str
) -> None:
    """It dies when it has just noted that somebody wants the operation to end."""
    orchestrator = doomed("orchestrator", "orchestrator", "cancel")
    house.until(lambda: house.pool("dc-1")["level_keys"] > 0, "a key for dc-1")
    house.lab.processes["polatis"].kill()
    deployment = house.deploy(small_image, "dc-1")
    path = f"/api/v1/operations/{deployment['operation_id']}"
    house.until(lambda: house.get(path)["state"] == "PROCESSING", "it waits for the switch")
    with pytest.raises(UnreachableError):
        ask(house, deployment, "cancel")
    house.until(lambda: orchestrator.pid is None, "the orchestrator dies")
    house.lab.restart("orchestrator")
    house.lab.restart("polatis")
    operation = house.ended(deployment["operation_id"])
    assert operation["state"] == "ROLLED_BACK"
    assert operation["error"]["type"].endswith("operation-cancelled")
    assert state_of(house, deployment) == "FAILED"
    house.assert_nothing_left()
