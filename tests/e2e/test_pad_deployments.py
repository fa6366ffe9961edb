"""A configuration bundle under a one-time pad, from the pool to the running instance."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from e2e_house import House, docker_archive

from emulators.lab.configuration_bundle import build
from emulators.lab.lab import Lab, LabOptions
from orchestrator.cli.client import RefusedError

LAUNCHER = Path(__file__).parent / "serve_until_fail_point.py"


@pytest.fixture(scope="module")
def pads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    lab = Lab(
        tmp_path_factory.mktemp("pads"),
        LabOptions(time_scale=2000.0, pool_target_keys=24, key_capacity=4096),
    )
    lab.up()
    try:
        yield House(lab)
    finally:
        lab.down()


@pytest.fixture(scope="module")
def bundle(pads: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("bundle") / "bundle.tar"
    build(file)
    return pads.client.add_image(file, "bundle")


@pytest.fixture(scope="module")
def small_bundle(pads: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of 10 kB, so that Alice need not make many keys for each crash."""
    file = docker_archive(tmp_path_factory.mktemp("bundle") / "small.tar", b"secret")
    return pads.client.add_image(file, "small-bundle")


def request(bundle: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "image": bundle["digest"],
        "data_centre": "dc-1",
        "cipher": "one-time-pad",
        "wait_s": 120,
        **changes,
    }


def test_a_bundle_is_deployed_under_a_pad_that_both_ends_erase(
    pads: House, bundle: dict[str, Any]
) -> None:
    plan = pads.client.post("/api/v1/deployments/plan", request(bundle))
    blocks = plan["key_bits"] // 256
    assert plan["key_bits"] > 8 * bundle["size_bytes"]
    before = pads.pool("dc-1")["counts"]["CONSUMED"]
    deployment = pads.client.post("/api/v1/deployments", request(bundle))
    operation = pads.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    detail = {step["name"]: step["detail"] for step in operation["steps"]}
    assert detail["stream"]["cipher"] == "one-time-pad"
    assert detail["notify"]["receipt"] == "verified"
    counts = pads.pool("dc-1")["counts"]
    assert counts["CONSUMED"] - before == blocks
    assert counts["ARMED"] == counts["RESERVED"] == 0
    bob = pads.bob_counts("dc-1")
    assert bob["CONSUMED"] >= blocks
    assert bob.get("ARMED", 0) == bob.get("RESERVED", 0) == 0
    state = pads.lab.layout.folder / "orchestrator" / "pads"
    assert list(state.iterdir()) == [], "the sealed file is gone with its last use"
    running = pads.get(f"/api/v1/deployments/{deployment['deployment_id']}")
    assert running["instance"]["image_digest"] == bundle["digest"]
    pads.remove(running)


@pytest.mark.parametrize(
    ("name", "service", "where"),
    [
        *(("orchestrator", "orchestrator", f"pad/{where}") for where in
          ("armed", "sealed", "erased", "sent")),
        *(("dc-1", "slave", where) for where in ("pad-announce", "placed", "pad-acknowledge")),
    ],
)  # fmt: skip
def test_a_crash_leaves_no_block_open_and_no_second_plaintext(
    pads: House, small_bundle: dict[str, Any], name: str, service: str, where: str
) -> None:
    process = pads.lab.processes[name]
    process.terminate()
    process.await_end()
    usual = process.spec
    settings = str(pads.lab.layout.settings(name))
    process.spec = replace(usual, argv=(sys.executable, str(LAUNCHER), service, settings, where))
    pads.lab.restart(name)
    process.spec = usual
    deployment = pads.client.post("/api/v1/deployments", request(small_bundle))
    pads.until(lambda: process.pid is None, f"{name} dies at {where}")
    pads.lab.restart(name)
    operation = pads.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED", operation["error"]
    for counts in (pads.pool("dc-1")["counts"], pads.bob_counts("dc-1")):
        assert counts.get("ARMED", 0) == counts.get("RESERVED", 0) == 0, counts
    state = pads.lab.layout.folder / "orchestrator" / "pads"
    assert list(state.iterdir()) == []
    pads.remove(pads.get(f"/api/v1/deployments/{deployment['deployment_id']}"))


def promise_of(pads: House, deployment: dict[str, Any]) -> dict[str, Any] | None:
    promises = pads.get("/api/v1/schedule/promises")["promises"]
    operation = deployment["operation_id"]
    return next((p for p in promises if p["operation_id"] == operation), None)


def test_a_pad_that_is_not_there_yet_is_promised(pads: House, bundle: dict[str, Any]) -> None:
    wish = request(bundle, data_centre="dc-3")
    for _ in range(5):  # at 25 km keys come slowly: one of these finds too few
        plan = pads.client.post("/api/v1/deployments/plan", wish)
        assert plan["keys_expected_in_s"] is not None
        deployment = pads.client.post("/api/v1/deployments", wish)
        promise = promise_of(pads, deployment)
        operation = pads.ended(deployment["operation_id"])
        assert operation["state"] == "COMPLETED", operation["error"]
        pads.remove(pads.get(f"/api/v1/deployments/{deployment['deployment_id']}"))
        if promise is not None:
            break
    assert promise is not None
    assert promise["bits"] == plan["key_bits"]
    ended = promise_of(pads, deployment)
    assert ended is not None
    assert ended["outcome"] in ("kept", "broken"), "it had its keys"


def test_a_pad_that_cannot_be_there_in_time_is_refused_with_the_earliest_time(
    pads: House, bundle: dict[str, Any]
) -> None:
    before = pads.get("/api/v1/deployments")
    with pytest.raises(RefusedError, match="cannot be promised by then"):
        pads.client.post("/api/v1/deployments", request(bundle, data_centre="dc-3", wait_s=0.001))
    assert pads.get("/api/v1/deployments") == before


def test_what_policy_forbids_is_refused_with_the_reason(pads: House, tmp_path: Path) -> None:
    large = docker_archive(tmp_path / "large.tar", bytes(200_000))
    image = pads.client.add_image(large, "too-large-for-a-pad")
    with pytest.raises(RefusedError, match="never holds more"):
        pads.client.post("/api/v1/deployments/plan", request(image))
    with pytest.raises(RefusedError, match="use key_mode pooled"):
        pads.client.post("/api/v1/deployments/plan", request(image, key_mode="on_demand"))
