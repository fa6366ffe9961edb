"""A VNF of several members, as a client of SOL003 sees it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from csar_builder import Csar
from e2e_house import House, docker_archive

INSTANCES = "/vnflcm/v1/vnf_instances"
OCCURRENCES = "/vnflcm/v1/vnf_lcm_op_occs"
PACKAGES = "/vnfpkgm/v1/vnf_packages"


def two_containers(folder: Path, name: str, *, both_scale: bool = False) -> Csar:
    """VDU1 and VDU2; VDU1 scales, or both do."""
    images = [
        docker_archive(folder / f"{name}-{number}.tar", f"{name} {number}".encode() * 500)
        for number in (1, 2)
    ]
    first, second = (image.read_bytes() for image in images)
    return Csar(image=first, others=(second,), scales=True, both_scale=both_scale)


def north_bound(house: House) -> httpx.Client:
    token = house.lab.layout.token_file.read_text().strip()
    return httpx.Client(
        base_url=house.lab.layout.rest_url, headers={"X-Auth-Token": token}, timeout=30.0
    )


def onboard(house: House, made: Csar) -> str:
    with north_bound(house) as client:
        package: str = client.post(PACKAGES, json={}).json()["id"]
        content = f"{PACKAGES}/{package}/package_content"
        assert client.put(content, content=made.packed()).status_code == 202

    def state() -> str:
        return str(house.get(f"{PACKAGES}/{package}")["onboardingState"])

    house.until(lambda: state() in ("ONBOARDED", "CREATED"), "the package is processed")
    document = house.get(f"{PACKAGES}/{package}")
    assert document["onboardingState"] == "ONBOARDED", document
    return package


def let_go(house: House, package: str) -> None:
    with north_bound(house) as client:
        path = f"{PACKAGES}/{package}"
        assert client.patch(path, json={"operationalState": "DISABLED"}).status_code == 200
        assert client.delete(path).status_code == 204


class Vnf:
    def __init__(self, house: House, vnfd_id: str, name: str = "") -> None:
        self.house = house
        wish = {"vnfdId": vnfd_id, "vnfInstanceName": name}
        self.id: str = house.client.post(INSTANCES, wish)["id"]
        self.path = f"{INSTANCES}/{self.id}"

    def ask(self, task: str, *, status: int = 202, **body: Any) -> dict[str, Any]:
        """The problem document where it is refused."""
        with north_bound(self.house) as client:
            answer = client.post(f"{self.path}/{task}", json=body)
        assert answer.status_code == status, answer.text
        return dict(answer.json()) if answer.content else {}

    def decide(self, occurrence: dict[str, Any], action: str) -> None:
        with north_bound(self.house) as client:
            answer = client.post(f"{OCCURRENCES}/{occurrence['id']}/{action}")
        assert answer.is_success, answer.text

    def instantiate(self, *, status: int = 202, **params: Any) -> dict[str, Any]:
        wish = {"flavourId": "simple", "additionalParams": {"wait_s": 120, **params}}
        return self.ask("instantiate", status=status, **wish)

    def show(self) -> dict[str, Any]:
        document: dict[str, Any] = self.house.get(self.path)
        return document

    def members(self) -> set[tuple[str, str]]:
        """VDU and data centre of each."""
        info = self.show().get("instantiatedVnfInfo", {})
        return {
            (each["vduId"], each["computeResource"]["vimConnectionId"])
            for each in info.get("vnfcResourceInfo", [])
        }

    def count(self) -> int:
        return len(self.show().get("instantiatedVnfInfo", {}).get("vnfcResourceInfo", []))

    def newest(self) -> dict[str, Any]:
        found = self.house.get(f"{OCCURRENCES}?filter=(eq,vnfInstanceId,{self.id})")
        document: dict[str, Any] = self.house.get(f"{OCCURRENCES}/{found[0]['id']}")
        return document

    def rests(self, operation: str, timeout_s: float = 120.0) -> dict[str, Any]:
        """Its newest occurrence, once that is at rest."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            document = self.newest()
            at_rest = ("COMPLETED", "FAILED_TEMP", "FAILED", "ROLLED_BACK")
            if document["operation"] == operation and document["operationState"] in at_rest:
                return document
            if time.monotonic() > deadline_s:
                pytest.fail(f"it is not at rest: {json.dumps(document, indent=1)}")
            time.sleep(0.05)

    def end(self) -> None:
        """Terminate and delete it."""
        self.ask("terminate", terminationType="FORCEFUL")
        assert self.rests("TERMINATE")["operationState"] == "COMPLETED"
        self.house.client.delete(self.path)


def deployments_of(house: House, occurrence: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        house.get(f"/api/v1/deployments/{member['deploymentId']}")
        for member in occurrence["members"]
    ]
