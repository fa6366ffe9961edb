"""60 km over two trusted nodes: a VNF image deployed under a key that no QKD link could make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from e2e_house import House, docker_archive

from emulators.lab.lab import Lab, LabOptions
from emulators.lab.plans import RELAY
from orchestrator.cli.client import RefusedError


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    lab = Lab(
        tmp_path_factory.mktemp("chain"),
        LabOptions(time_scale=2000.0, pool_target_keys=32, key_capacity=512),
        RELAY,
    )
    lab.up()
    try:
        yield House(lab)
    finally:
        lab.down()


@pytest.fixture(scope="module")
def image(chain: House, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = docker_archive(tmp_path_factory.mktemp("images") / "small.tar", b"relayed" * 1000)
    return str(chain.client.add_image(file, "small")["digest"])


def test_an_image_goes_60_km_under_a_relayed_key_that_tells_its_way(
    chain: House, image: str
) -> None:
    deployment = chain.deploy(image, "dc-3", wait_s=120)
    operation = chain.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    detail = {step["name"]: step["detail"] for step in operation["steps"]}
    assert detail["circuit"]["km"] == pytest.approx(60)
    assert detail["key"]["emulated"] is True
    key_id = detail["key"]["key_id"]
    trace = chain.get(f"/api/v1/keys/{key_id}/trace")
    assert trace["state"] == "CONSUMED"
    assert trace["route"]["nodes"] == ["central", "dc-1", "dc-2", "dc-3"]
    assert [hop["link"] for hop in trace["hops"]] == [
        "alice--bob-1",
        "alice-1--bob-2",
        "alice-2--bob-3",
    ]
    assert {hop["state"] for hop in trace["hops"]} == {"DONE"}
    assert trace["use"]["transfer_id"] == deployment["operation_id"]
    assert trace["use"]["destination"] == "dc-3"
    running = chain.get(f"/api/v1/deployments/{deployment['deployment_id']}")
    chain.remove(running)


def test_every_delivered_key_cost_a_block_on_every_hop(chain: House) -> None:
    def settled() -> bool:
        return all(route["settled"] for route in chain.get("/api/v1/relays"))

    chain.until(settled, "the routes to be settled")
    routes: list[dict[str, Any]] = chain.get("/api/v1/relays")
    done = [route for route in routes if route["state"] == "DONE"]
    assert done
    for hop in chain.get("/api/v1/keys/hops"):
        over = [route for route in done if hop["link"] in route["links"]]
        blocks = sum(route["key_count"] + 1 for route in over)
        assert hop["counts"]["CONSUMED"] >= blocks
        assert hop["counts"]["ARMED"] == hop["counts"]["RESERVED"] == 0
    for route in done:
        assert route["delivered_keys"] == route["key_count"] - 1


def test_the_trusted_node_itself_is_reached_under_its_own_keys(chain: House, image: str) -> None:
    deployment = chain.deploy(image, "dc-1", wait_s=120)
    operation = chain.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    detail = {step["name"]: step["detail"] for step in operation["steps"]}
    trace = chain.get(f"/api/v1/keys/{detail['key']['key_id']}/trace")
    assert trace["route"] is None
    assert trace["turn"]["alice"] == "alice"
    chain.remove(chain.get(f"/api/v1/deployments/{deployment['deployment_id']}"))


def test_a_key_that_nobody_held_has_no_trace(chain: House) -> None:
    with pytest.raises(RefusedError, match="never held"):
        chain.client.get("/api/v1/keys/00000000-0000-4000-8000-000000000000/trace")
