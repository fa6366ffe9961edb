"""The main job on a laboratory of real processes, and what people get when something is wrong."""

from __future__ import annotations

import random
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e_house import DATA_CENTRES, House, docker_archive

from orchestrator.cli.client import RefusedError
from orchestrator.vnf_lcm.steps import INSTANTIATE


def refusal(house: House, **document: Any) -> dict[str, Any]:
    with pytest.raises(RefusedError) as caught:
        house.client.post("/api/v1/deployments", document)
    problem = caught.value.problem
    assert problem.next_step, "every refusal says what to do next"
    return problem.model_dump()


def test_an_image_travels_and_runs(house: House, small_image: str) -> None:
    before = house.pool("dc-3")["counts"]["CONSUMED"]
    deployment = house.deploy(small_image, "dc-3", name="first")
    operation = house.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    detail = {step["name"]: step["detail"] for step in operation["steps"]}
    assert [step["name"] for step in operation["steps"]] == list(INSTANTIATE)
    assert all(step["seconds"] >= 0 and step["runs"] == 1 for step in operation["steps"])
    assert len(detail["circuit"]["cross_connects"]) == 2
    assert detail["key"]["emulated"] is True
    assert detail["acknowledge"]["http_status"] == 200
    assert house.pool("dc-3")["counts"]["CONSUMED"] == before + 1
    transfers = {t["transfer_id"]: t for t in house.get("/api/v1/transfers")}
    transfer = transfers[deployment["operation_id"]]
    assert transfer["receipt_verified"] is True
    assert transfer["bytes_sent"] == transfer["image_bytes"]

    view = house.get(f"/api/v1/deployments/{deployment['deployment_id']}")
    end_point = view["instance"]["end_points"][0]
    page = httpx.get(f"http://{end_point['host']}:{end_point['host_port']}/")
    assert page.status_code == 200
    assert "emulated" in page.text.lower()

    with pytest.raises(RefusedError, match="used by 1 deployment"):
        house.client.delete(f"/api/v1/images/{small_image}")
    house.remove(deployment)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{end_point['host']}:{end_point['host_port']}/")
    house.assert_nothing_left()


def test_a_key_asked_on_demand_is_used_at_once(house: House, small_image: str) -> None:
    deployment = house.deploy(small_image, "dc-1", key_mode="on_demand")
    operation = house.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    house.remove(deployment)
    house.assert_nothing_left()


def test_many_deployments_at_once(house: House, small_image: str) -> None:
    with ThreadPoolExecutor(9) as pool:
        deployments = list(
            pool.map(lambda i: house.deploy(small_image, DATA_CENTRES[i % 3]), range(9))
        )
    operations = [house.ended(d["operation_id"]) for d in deployments]
    assert [o["state"] for o in operations] == ["COMPLETED"] * 9
    with ThreadPoolExecutor(9) as pool:
        list(pool.map(house.remove, deployments))
    house.assert_nothing_left()


def test_without_a_free_port_an_operation_waits_in_order(house: House, large_image: str) -> None:
    """The orchestrator has two ports on the switch, so one of three data centres waits."""
    house.until(
        lambda: all(house.pool(name)["level_keys"] > 0 for name in DATA_CENTRES), "keys for all"
    )
    with ThreadPoolExecutor(3) as pool:
        deployments = list(pool.map(lambda name: house.deploy(large_image, name), DATA_CENTRES))
    operations = [house.ended(d["operation_id"]) for d in deployments]
    assert [o["state"] for o in operations] == ["COMPLETED"] * 3
    circuit_steps = [s for o in operations for s in o["steps"] if s["name"] == "circuit"]
    assert any("waits" in step["detail"] for step in circuit_steps)
    for deployment in deployments:
        house.remove(deployment)
    house.assert_nothing_left()


def test_a_switch_that_comes_back_is_waited_for(house: House, small_image: str) -> None:
    house.until(lambda: house.pool("dc-1")["level_keys"] > 0, "a key for dc-1")
    house.lab.processes["polatis"].kill()
    deployment = house.deploy(small_image, "dc-1")
    house.until(
        lambda: any(
            "waits" in step["detail"]
            for step in house.get(f"/api/v1/operations/{deployment['operation_id']}")["steps"]
        ),
        "the operation says that it waits",
    )
    house.lab.restart("polatis")
    assert house.ended(deployment["operation_id"])["state"] == "COMPLETED"
    house.remove(deployment)
    house.assert_nothing_left()


def test_an_image_damaged_in_the_catalogue_is_never_placed(house: House, tmp_path: Path) -> None:
    image = house.client.add_image(
        docker_archive(tmp_path / "rotten.tar", b"sound" * 100_000), "rotten"
    )
    folder = house.lab.layout.folder / "orchestrator" / "catalogue" / "images"
    file = folder / image["digest"]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    deployment = house.deploy(image["digest"], "dc-1")
    operation = house.ended(deployment["operation_id"])
    assert operation["state"] == "ROLLED_BACK"
    assert operation["error"]["detail"]
    view = house.get(f"/api/v1/deployments/{deployment['deployment_id']}")
    assert view["state"] == "FAILED"
    house.assert_nothing_left()


def test_nothing_is_started_for_a_request_that_cannot_be(
    house: House, small_image: str, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(510) + b"\x55\xaa" + bytes(512))
    house.client.add_image(disk, "disk")
    backed = tmp_path / "backed.qcow2"
    backed.write_bytes(b"QFI\xfb" + struct.pack(">IQ", 3, 104) + bytes(400))
    count = len(house.get("/api/v1/operations"))

    problem = refusal(house, image="no-such", data_centre="dc-1")
    assert (problem["status"], problem["type"]) == (404, "urn:qnfv:problem:unknown-image")
    problem = refusal(house, image=small_image, data_centre="dc-9")
    assert (problem["status"], problem["type"]) == (404, "urn:qnfv:problem:unknown-data-centre")
    problem = refusal(house, image="disk", data_centre="dc-1")
    assert (problem["status"], problem["type"]) == (422, "urn:qnfv:problem:image-refused")
    problem = refusal(house, image=small_image, data_centre="dc-1", cpus=0)
    assert (problem["status"], problem["type"]) == (422, "urn:qnfv:problem:invalid-request")
    problem = refusal(house, image=small_image, data_centre="dc-1", key_mode="on_demand", wait_s=0)
    assert (problem["status"], problem["type"]) == (409, "urn:qnfv:problem:no-key-yet")
    assert problem["keys_expected_in_s"] > 0
    with pytest.raises(RefusedError, match="backing file"):
        house.client.add_image(backed, "backed")
    assert len(house.get("/api/v1/operations")) == count


def test_a_data_centre_that_is_down_is_said_at_once(house: House, small_image: str) -> None:
    house.lab.processes["dc-1"].kill()
    try:
        problem = refusal(house, image=small_image, data_centre="dc-1")
        assert problem["status"] == 503
        assert problem["type"] == "urn:qnfv:problem:data-centre-unreachable"
        centres = {d["name"]: d for d in house.get("/api/v1/data-centres")}
        assert centres["dc-1"]["reachable"] is False
        assert centres["dc-2"]["reachable"] is True
    finally:
        house.lab.restart("dc-1")


def test_the_plan_tells_path_loss_and_key(house: House, small_image: str) -> None:
    plan = house.client.post(
        "/api/v1/deployments/plan", {"image": small_image, "data_centre": "dc-3"}
    )
    assert plan["path_km"] == pytest.approx(25.01)
    assert plan["key_bits"] == 256
    assert plan["emulated_keys"] is True
    assert len(plan["path"]) == 2


def test_what_was_measured_makes_the_plan_tell_a_time(house: House, small_image: str) -> None:
    house.ended(house.deploy(small_image, "dc-1")["operation_id"])
    wish = {"image": small_image, "data_centre": "dc-1"}
    plan = house.client.post("/api/v1/deployments/plan", wish)
    assert plan["measured_transfers"] > 0
    assert plan["measured_deployments"] > 0
    assert plan["takes_s"] >= plan["steps_s"] > 0
    for deployment in house.get("/api/v1/deployments"):
        if deployment["state"] == "RUNNING":
            house.remove(deployment)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"X-Auth-Token": "TOKEN"}, 200),
        ({"Authorization": "Bearer TOKEN", "Host": "evil.example"}, 421),
        ({"Authorization": "Bearer TOKEN", "Origin": "https://evil.example"}, 403),
    ],
)
def test_only_the_token_s_reader_is_served(
    house: House, headers: dict[str, str], status: int
) -> None:
    token = house.lab.layout.token_file.read_text().strip()
    sent = {name: value.replace("TOKEN", token) for name, value in headers.items()}
    answer = httpx.get(f"{house.lab.layout.rest_url}/api/v1/images", headers=sent)
    assert answer.status_code == status
    if status >= 400:
        assert answer.headers["content-type"].startswith("application/problem+json")


def test_metrics_are_scraped(house: House) -> None:
    token = house.lab.layout.token_file.read_text().strip()
    answer = httpx.get(
        f"{house.lab.layout.rest_url}/metrics", headers={"Authorization": f"Bearer {token}"}
    )
    assert 'qnfv_keys{link="alice--bob-1",state="AVAILABLE"}' in answer.text
    assert "qnfv_schedule_leads 1.0" in answer.text


def test_a_stream_goes_on_at_its_mark_after_the_light_went_out(
    house: House, tmp_path: Path
) -> None:
    """The switch dies under a running stream; nothing is sent twice once it is back."""
    archive = docker_archive(tmp_path / "huge.tar", random.Random(1).randbytes(200_000_000) * 4)
    image = house.client.add_image(archive, "huge")
    deployment = house.deploy(image["digest"], "dc-2")
    path = f"/api/v1/operations/{deployment['operation_id']}"
    house.until(lambda: 0 < house.get(path)["bytes_sent"] < image["size_bytes"], "bytes flow", 90)
    house.lab.processes["polatis"].kill()
    house.lab.restart("polatis")
    operation = house.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    stream = next(step for step in operation["steps"] if step["name"] == "stream")
    assert stream["runs"] == 1
    assert stream["detail"]["attempts"] > 1
    house.remove(deployment)
    house.client.delete(f"/api/v1/images/{image['digest']}")
    house.assert_nothing_left()
