"""The content of VNF packages over several connections: as an upload of an image, but that the
package tells what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from account_room import AccountRoom
from csar_builder import Csar, disk
from fastapi.testclient import TestClient
from sqlalchemy import update

from database import writing
from orchestrator.accounts.identity import Role
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.projects.ownership import Ownership
from orchestrator.settings import PackagesTable, UploadsTable
from orchestrator.sol003.onboarding.deliveries import PackageDeliveries
from orchestrator.sol003.onboarding.intake import PackageIntake
from orchestrator.sol003.onboarding.quota import PackageQuota
from orchestrator.sol003.onboarding.store import PackageStore
from orchestrator.sol003.onboarding.tables import VnfPackageRow
from orchestrator.uploads.service import Uploads
from orchestrator.uploads.tables import UploadRow
from timekeeping import SystemClock

PACKAGES = "/vnfpkgm/v1/vnf_packages"
UPLOADS = "/api/v1/uploads"
OFFSET_TYPE = "application/offset+octet-stream"


@pytest.fixture(scope="module")
def client(room: AccountRoom) -> TestClient:
    return room.owner()


def create(client: TestClient) -> str:
    return str(client.post(PACKAGES, json={}).json()["id"])


def begin(client: TestClient, package_id: str, size: int, **more: Any) -> dict[str, Any]:
    wish = {"name": "router", "size_bytes": size, "vnf_package": package_id, **more}
    answer = client.post(UPLOADS, json=wish)
    assert answer.status_code == 201, answer.text
    assert answer.json()["vnf_package"] == package_id
    return dict(answer.json())


def send(client: TestClient, upload: dict[str, Any], offset: int, piece: bytes) -> Any:
    return client.patch(
        f"{UPLOADS}/{upload['upload_id']}",
        content=piece,
        headers={"Content-Type": OFFSET_TYPE, "Upload-Offset": str(offset)},
    )


def package(client: TestClient, package_id: str) -> dict[str, Any]:
    return dict(client.get(f"{PACKAGES}/{package_id}").json())


def becomes(client: TestClient, package_id: str, state: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        document = package(client, package_id)
        if document["onboardingState"] == state:
            return document
    raise AssertionError(document)


def drop(client: TestClient, package_id: str) -> None:
    client.patch(f"{PACKAGES}/{package_id}", json={"operationalState": "DISABLED"})
    assert client.delete(f"{PACKAGES}/{package_id}").status_code == 204


def test_a_package_that_comes_in_two_pieces(client: TestClient) -> None:
    made = Csar()
    content = made.packed()
    package_id = create(client)
    upload = begin(client, package_id, len(content))
    assert send(client, upload, 0, content[:1000]).status_code == 204
    assert package(client, package_id)["onboardingState"] == "UPLOADING"
    path = f"{PACKAGES}/{package_id}"
    for refused in (
        client.put(f"{path}/package_content", content=content),
        client.delete(path),
        client.post(UPLOADS, json={"name": "x", "size_bytes": 9, "vnf_package": package_id}),
    ):
        assert (refused.status_code, refused.json()["state"]) == (409, "UPLOADING")
    answer = send(client, upload, 1000, content[1000:])
    assert answer.headers["Upload-Offset"] == str(len(content))
    document = becomes(client, package_id, "ONBOARDED")
    assert document["vnfdId"] == made.vnfd_id
    assert client.get(f"{path}/package_content").content == content
    done = client.get(f"{UPLOADS}/{upload['upload_id']}").json()
    assert (done["image"], done["finished_at"] is not None) == (None, True)
    assert done["upload_id"] not in [each["upload_id"] for each in client.get(UPLOADS).json()]
    # Thrown away now, nothing happens to what it became.
    assert client.delete(f"{UPLOADS}/{upload['upload_id']}").status_code == 204
    assert package(client, package_id)["onboardingState"] == "ONBOARDED"
    drop(client, package_id)


def test_the_package_tells_what_is_wrong_and_takes_another_content(client: TestClient) -> None:
    package_id = create(client)
    bad, good = Csar(flavour="").packed(), Csar().packed()
    assert send(client, begin(client, package_id, len(bad)), 0, bad).status_code == 204
    failure = becomes(client, package_id, "CREATED")["onboardingFailureDetails"]
    assert "flavour_id" in failure["detail"]
    assert send(client, begin(client, package_id, len(good)), 0, good).status_code == 204
    assert "onboardingFailureDetails" not in becomes(client, package_id, "ONBOARDED")
    drop(client, package_id)


def test_what_is_thrown_away_or_damaged_can_come_again(
    room: AccountRoom, client: TestClient
) -> None:
    content = disk()
    package_id = create(client)
    upload = begin(client, package_id, len(content))
    assert send(client, upload, 0, content[:100]).status_code == 204
    assert client.delete(f"{UPLOADS}/{upload['upload_id']}").status_code == 204
    failure = package(client, package_id)["onboardingFailureDetails"]
    assert "thrown away" in failure["detail"]
    damaged = begin(client, package_id, len(content), sha256="00" * 32)
    refused = send(client, damaged, 0, content)
    assert (refused.status_code, refused.json()["type"]) == (
        422,
        "urn:qnfv:problem:upload-damaged",
    )
    assert package(client, package_id)["onboardingState"] == "CREATED"
    files = room.settings.state_dir / "catalogue"
    assert list((files / "uploads").iterdir()) == list((files / "packages").iterdir()) == []
    assert send(client, begin(client, package_id, len(content)), 0, content).status_code == 204
    becomes(client, package_id, "ONBOARDED")
    drop(client, package_id)


def test_what_is_announced_counts_before_it_comes(
    room: AccountRoom, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = create(client), create(client)
    monkeypatch.setattr(room.settings.packages, "most_bytes_per_project", 10_000)
    upload = begin(client, first, 6_000)
    wish = {"name": "router", "size_bytes": 6_000, "vnf_package": second}
    refused = client.post(UPLOADS, json=wish)
    assert (refused.status_code, refused.json()["type"]) == (
        409,
        "urn:qnfv:problem:too-many-vnf-packages",
    )
    assert package(client, second)["onboardingState"] == "CREATED"
    client.delete(f"{UPLOADS}/{upload['upload_id']}")
    upload = begin(client, second, 6_000)
    client.delete(f"{UPLOADS}/{upload['upload_id']}")
    # Too many open uploads: the package waits for none of them.
    monkeypatch.setattr(room.settings.uploads, "most_per_person", 1)
    opened = client.post(UPLOADS, json={"name": "x", "size_bytes": 9}).json()
    assert client.post(UPLOADS, json={**wish, "size_bytes": 9}).status_code == 409
    assert package(client, second)["onboardingState"] == "CREATED"
    client.delete(f"{UPLOADS}/{opened['upload_id']}")
    for package_id in (first, second):
        assert client.delete(f"{PACKAGES}/{package_id}").status_code == 204


def test_others_and_what_is_no_package(room: AccountRoom, client: TestClient) -> None:
    package_id = create(client)
    client.post("/api/v1/projects", json={"name": "blue"})
    stranger = room.with_token("upload-stranger", Role.OPERATOR)
    client.put("/api/v1/projects/blue/members/upload-stranger")
    client.delete("/api/v1/projects/default/members/upload-stranger")
    wish = {"name": "router", "size_bytes": 9, "vnf_package": package_id}
    assert stranger.post(UPLOADS, json=wish).status_code == 404
    wish["vnf_package"] = "00000000-0000-4000-8000-000000000000"
    assert client.post(UPLOADS, json=wish).status_code == 404
    assert client.delete(f"{PACKAGES}/{package_id}").status_code == 204


def crash_before_the_package_has_it(room: AccountRoom, upload: UUID, package_id: UUID) -> None:
    """All bytes are there, and nobody asked for the check yet: as after `kill -9`."""


def crash_before_the_upload_knows(room: AccountRoom, upload: UUID, package_id: UUID) -> None:
    """The package was handed over, and the upload does not say so yet."""
    folder = room.settings.state_dir / "catalogue"
    content = (folder / "uploads" / str(upload)).read_bytes()
    (folder / "packages" / str(package_id)).write_bytes(content)
    with writing(room.engine) as session:
        session.execute(
            update(VnfPackageRow)
            .where(VnfPackageRow.package_id == package_id)
            .values(onboarding_state="PROCESSING", content_sha256=bytes(32))
        )


@pytest.mark.parametrize("crash", [crash_before_the_package_has_it, crash_before_the_upload_knows])
def test_an_upload_goes_on_after_a_crash(
    room: AccountRoom, client: TestClient, crash: Callable[[AccountRoom, UUID, UUID], None]
) -> None:
    content = Csar().packed()
    package_id, lost = create(client), create(client)
    upload = begin(client, package_id, len(content))
    assert send(client, upload, 0, content[:500]).status_code == 204
    file = room.settings.state_dir / "catalogue" / "uploads" / upload["upload_id"]
    with file.open("ab") as handle:
        handle.write(content[500:])
    gone = begin(client, lost, 9)
    with writing(room.engine) as session:  # an upload whose row did not get into the database
        session.delete(session.get_one(UploadRow, UUID(gone["upload_id"])))
    crash(room, UUID(upload["upload_id"]), UUID(package_id))

    uploads, intake = started(room)
    uploads.settle()
    intake.settle()
    assert "thrown away" in str(package(client, lost)["onboardingFailureDetails"])
    finished = uploads.finish(uploads.get(UUID(upload["upload_id"]), None))
    assert (finished.finished_at is not None, finished.image_digest) == (True, None)
    becomes(client, package_id, "ONBOARDED")
    assert client.get(f"{PACKAGES}/{package_id}/package_content").content == content
    assert not file.exists()
    drop(client, package_id)
    assert client.delete(f"{PACKAGES}/{lost}").status_code == 204
    intake.close()


def started(room: AccountRoom) -> tuple[Uploads, PackageIntake]:
    """What the next process has of these rooms."""
    clock, ownership = SystemClock(), Ownership(room.engine)
    folder = room.settings.state_dir / "catalogue"
    catalogue = Catalogue(room.engine, folder, clock, max_image_bytes=10**6, ownership=ownership)
    store = PackageStore(room.engine, clock, ownership)
    intake = PackageIntake(
        store, catalogue, folder / "packages", clock, deployments=lambda _: 0, max_bytes=10**6
    )
    uploads = Uploads(
        room.engine, folder / "uploads", clock, catalogue, UploadsTable(), max_image_bytes=10**6
    )
    uploads.bring_to(PackageDeliveries(store, intake, PackageQuota(PackagesTable())))
    return uploads, intake
