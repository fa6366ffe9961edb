"""VNF packages over REST: from an empty one to VNF instances of it, and back to nothing."""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from account_room import AccountRoom
from csar_builder import ENTRY, IMAGE, README, TYPES, Csar, disk, other_image
from fastapi.testclient import TestClient
from sqlalchemy import update

from database import writing
from orchestrator.accounts.identity import Role
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.projects.ownership import Ownership
from orchestrator.sol003.onboarding.intake import PackageIntake
from orchestrator.sol003.onboarding.store import PackageStore
from orchestrator.sol003.onboarding.tables import VnfPackageRow
from timekeeping import SystemClock

PACKAGES = "/vnfpkgm/v1/vnf_packages"
INSTANCES = "/vnflcm/v1/vnf_instances"
AT_REST = ("CREATED", "ONBOARDED")


@pytest.fixture(scope="module")
def client(room: AccountRoom) -> TestClient:
    return room.owner()


@pytest.fixture
def folder(room: AccountRoom) -> Path:
    return room.settings.state_dir / "catalogue" / "packages"


def create(client: TestClient, **user_data: Any) -> str:
    answer = client.post(PACKAGES, json={"userDefinedData": user_data})
    assert answer.status_code == 201, answer.text
    document = answer.json()
    assert answer.headers["Location"] == document["_links"]["self"]["href"]
    assert (document["onboardingState"], document["operationalState"]) == ("CREATED", "DISABLED")
    assert "vnfdId" not in document
    return str(document["id"])


def at_rest(client: TestClient, package_id: str) -> dict[str, Any]:
    """The package once its content was processed."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        document: dict[str, Any] = client.get(f"{PACKAGES}/{package_id}").json()
        if document["onboardingState"] in AT_REST:
            return document
    raise AssertionError(document)


def upload(client: TestClient, content: bytes, **user_data: Any) -> dict[str, Any]:
    package_id = create(client, **user_data)
    answer = client.put(
        f"{PACKAGES}/{package_id}/package_content",
        content=content,
        headers={"Content-Type": "application/zip"},
    )
    assert answer.status_code == 202, answer.text
    return at_rest(client, package_id)


def images(client: TestClient) -> dict[str, Any]:
    return {row["name"]: row for row in client.get("/api/v1/images").json()}


def drop(client: TestClient, document: dict[str, Any]) -> None:
    path = f"{PACKAGES}/{document['id']}"
    assert client.patch(path, json={"operationalState": "DISABLED"}).status_code == 200
    assert client.delete(path).status_code == 204


def test_the_life_of_a_package(client: TestClient, folder: Path) -> None:
    made = Csar()
    content = made.packed()
    document = upload(client, content, colour="red")
    path = f"{PACKAGES}/{document['id']}"
    assert document["onboardingState"] == "ONBOARDED", document
    assert document["operationalState"] == "ENABLED"
    assert document["vnfdId"] == made.vnfd_id
    assert (document["vnfProvider"], document["vnfProductName"]) == ("Acme", "Router")
    assert document["checksum"]["hash"] == hashlib.sha256(content).hexdigest()
    (image,) = document["softwareImages"]
    assert (image["id"], image["imagePath"], image["size"]) == ("sw_image", IMAGE, 4096)
    assert [each["artifactPath"] for each in document["additionalArtifacts"]] == [README]
    catalogued = images(client)["Router-2.1"]
    assert image["checksum"]["hash"] == catalogued["digest"]
    listed = client.get(PACKAGES, params={"filter": f"(eq,vnfdId,{made.vnfd_id})"}).json()
    assert [each["id"] for each in listed] == [document["id"]]
    assert "softwareImages" not in listed[0]
    named = client.get(PACKAGES, params={"filter": "(eq,vnfProductName,Router-2.1)"}).json()
    assert named == [], "its image is no package of its own"

    # What came is what is given out, whole, in part and file by file.
    got = client.get(f"{path}/package_content")
    assert (got.content, got.headers["content-type"]) == (content, "application/zip")
    part = client.get(f"{path}/package_content", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert client.get(f"{path}/artifacts/{README}").content == made.files[README]
    assert client.get(f"{path}/artifacts/{IMAGE}").content == made.image
    assert client.get(f"{path}/artifacts/..%2f..%2fx").status_code == 404
    vnfd = client.get(f"{path}/vnfd", headers={"Accept": "application/zip"})
    with zipfile.ZipFile(io.BytesIO(vnfd.content)) as archive:
        assert archive.namelist() == [ENTRY, TYPES]
    assert client.get(f"{path}/vnfd", headers={"Accept": "text/plain"}).status_code == 406

    # An instance of it keeps it.
    answer = client.post(INSTANCES, json={"vnfdId": made.vnfd_id})
    assert answer.status_code == 201, answer.text
    instance = answer.json()
    assert (instance["vnfdId"], instance["vnfProvider"]) == (made.vnfd_id, "Acme")
    refused = client.delete(path)
    assert (refused.status_code, refused.json()["operational_state"]) == (409, "ENABLED")
    assert client.patch(path, json={"operationalState": "DISABLED"}).json() == {
        "operationalState": "DISABLED"
    }
    assert client.patch(path, json={"operationalState": "DISABLED"}).status_code == 409
    refused = client.delete(path)
    assert (refused.status_code, refused.json()["users"]) == (409, 1)
    assert client.get(path).json()["usageState"] == "IN_USE"
    taken = client.delete(f"/api/v1/images/{catalogued['digest']}")
    assert (taken.status_code, taken.json()["packages"]) == (409, 1)
    refused = client.post(INSTANCES, json={"vnfdId": made.vnfd_id})
    assert refused.status_code == 409
    assert "DISABLED" in refused.json()["detail"]
    body = {"flavourId": "simple", "additionalParams": {"data_centre": "dc-1"}}
    refused = client.post(f"{INSTANCES}/{instance['id']}/instantiate", json=body)
    assert refused.status_code == 409

    assert client.delete(f"{INSTANCES}/{instance['id']}").status_code == 204
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert "Router-2.1" not in images(client)
    assert not (folder / document["id"]).exists()


def test_the_flavour_is_that_of_the_vnfd(client: TestClient) -> None:
    document = upload(client, Csar().packed())
    instance = client.post(INSTANCES, json={"vnfdId": document["vnfdId"]}).json()
    path = f"{INSTANCES}/{instance['id']}"
    params = {"additionalParams": {"data_centre": "dc-99"}}
    wrong = client.post(f"{path}/instantiate", json={"flavourId": "default", **params})
    assert (wrong.status_code, wrong.json()["next_step"]) == (400, "Use simple.")
    right = client.post(f"{path}/instantiate", json={"flavourId": "simple", **params})
    assert (right.status_code, "dc-99" in right.json()["detail"]) == (404, True)
    assert client.delete(path).status_code == 204
    drop(client, document)


def test_a_bare_image_is_a_package_of_one_vdu(client: TestClient) -> None:
    content = disk()
    document = upload(client, content, name="bare router")
    assert (document["onboardingState"], document["vnfProductName"]) == ("ONBOARDED", "bare-router")
    path = f"{PACKAGES}/{document['id']}"
    assert client.get(f"{path}/package_content").content == content
    vnfd = client.get(f"{path}/vnfd")
    assert vnfd.headers["content-type"].startswith("text/plain")
    assert document["vnfdId"] in vnfd.text
    assert client.get(f"{path}/artifacts/x").status_code == 404
    again = upload(client, content)
    assert again["vnfdId"] != document["vnfdId"]
    assert again["softwareImages"][0]["checksum"] == document["softwareImages"][0]["checksum"]
    for each in (document, again):
        assert "bare-router" in images(client), "the other one has it too"
        drop(client, each)
    assert "bare-router" not in images(client)


def test_an_image_that_was_there_before_stays(client: TestClient) -> None:
    made = Csar()
    answer = client.post("/api/v1/images?name=before", content=made.image)
    assert answer.status_code == 201
    document = upload(client, made.packed())
    assert document["softwareImages"][0]["checksum"]["hash"] == answer.json()["digest"]
    (alone,) = client.get(PACKAGES, params={"filter": "(eq,vnfProductName,before)"}).json()
    drop(client, document)
    assert "before" in images(client)
    path = f"{PACKAGES}/{alone['id']}"
    for refused in (
        client.delete(path),
        client.patch(path, json={"userDefinedData": {"a": 1}}),
        client.put(f"{path}/package_content", content=b"x"),
        client.get(f"{path}/package_content"),
    ):
        assert refused.status_code == 409
        assert "qnfv image delete" in refused.json()["next_step"]


def test_what_is_wrong_is_told_by_the_package_and_can_be_sent_again(
    client: TestClient, folder: Path
) -> None:
    known = images(client)
    bad = Csar(flavour="")
    document = upload(client, bad.packed())
    assert (document["onboardingState"], document["operationalState"]) == ("CREATED", "DISABLED")
    failure = document["onboardingFailureDetails"]
    assert "flavour_id" in failure["detail"]
    assert failure["next_step"]
    path = f"{PACKAGES}/{document['id']}"
    for each in ("package_content", "vnfd", "artifacts/x"):
        refused = client.get(f"{path}/{each}")
        assert (refused.status_code, refused.json()["state"]) == (409, "CREATED")
    assert client.patch(path, json={"operationalState": "ENABLED"}).status_code == 409
    no_disk = Csar(others=(b"neither archive nor disk",))
    assert client.put(f"{path}/package_content", content=no_disk.packed()).status_code == 202
    failure = at_rest(client, document["id"])["onboardingFailureDetails"]
    assert other_image(2) in failure["detail"]
    assert list(folder.iterdir()) == []
    assert images(client) == known

    good = Csar()
    assert client.put(f"{path}/package_content", content=good.packed()).status_code == 202
    document = at_rest(client, document["id"])
    assert document["onboardingState"] == "ONBOARDED"
    assert "onboardingFailureDetails" not in document
    refused = client.put(f"{path}/package_content", content=good.packed())
    assert (refused.status_code, refused.json()["state"]) == (409, "ONBOARDED")
    twin = upload(client, Csar(vnfd_id=good.vnfd_id).packed())
    assert good.vnfd_id in twin["onboardingFailureDetails"]["detail"]
    assert client.delete(f"{PACKAGES}/{twin['id']}").status_code == 204
    drop(client, document)


def test_a_full_project_is_refused_with_what_to_do(
    room: AccountRoom, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    package_id = create(client)
    held = len(client.get(PACKAGES).json())
    table = room.settings.packages
    monkeypatch.setattr(table, "most_per_project", 1)
    refused = client.post(PACKAGES, json={})
    assert (refused.status_code, "most_per_project" in refused.json()["next_step"]) == (409, True)
    assert len(client.get(PACKAGES).json()) == held
    monkeypatch.setattr(table, "most_bytes_per_project", 100)
    refused = client.put(f"{PACKAGES}/{package_id}/package_content", content=Csar().packed())
    assert (refused.status_code, refused.json()["type"]) == (
        409,
        "urn:qnfv:problem:too-many-vnf-packages",
    )
    assert "100 bytes" in at_rest(client, package_id)["onboardingFailureDetails"]["detail"]
    assert client.delete(f"{PACKAGES}/{package_id}").status_code == 204


def test_the_page_shows_packages_and_why_they_failed(room: AccountRoom, client: TestClient) -> None:
    wrong = Csar(flavour="")
    good, bad = upload(client, Csar().packed()), upload(client, wrong.packed())
    page = client.get("/images", headers={"Accept": "text/html"}).text
    assert "Router 2.1" in page
    assert "does not say its flavour_id" in page
    assert good["id"] in page
    other = room.with_token("page-stranger", Role.OPERATOR)
    client.delete("/api/v1/projects/default/members/page-stranger")
    assert good["id"] not in other.get("/images", headers={"Accept": "text/html"}).text
    drop(client, good)
    assert client.delete(f"{PACKAGES}/{bad['id']}").status_code == 204


def test_uploads_that_do_not_come_whole(client: TestClient, folder: Path) -> None:
    package_id = create(client)
    path = f"{PACKAGES}/{package_id}/package_content"
    assert client.put(path, content=b"").status_code == 400
    assert "empty" in at_rest(client, package_id)["onboardingFailureDetails"]["detail"]

    def breaking() -> Iterator[bytes]:
        yield b"PK\x03\x04" + bytes(100)
        raise ConnectionAbortedError

    assert client.put(path, content=breaking()).status_code == 500
    assert at_rest(client, package_id)["onboardingState"] == "CREATED"
    assert list(folder.iterdir()) == []
    assert client.delete(f"{PACKAGES}/{package_id}").status_code == 204


def test_changes_need_the_newest_etag(client: TestClient) -> None:
    package_id = create(client, a="1", b={"c": 2})
    path = f"{PACKAGES}/{package_id}"
    etag = client.get(path).headers["ETag"]
    patch = {"userDefinedData": {"a": None, "b": {"d": 3}}}
    assert client.patch(path, json=patch, headers={"If-Match": '"x"'}).status_code == 412
    changed = client.patch(path, json=patch, headers={"If-Match": etag})
    assert changed.json() == {"userDefinedData": {"b": {"c": 2, "d": 3}}}
    assert client.patch(path, json=patch, headers={"If-Match": etag}).status_code == 412
    assert client.patch(path, json={"colour": "red"}).status_code == 400
    assert client.patch(path, json={"operationalState": "BROKEN"}).status_code == 400
    assert client.post(PACKAGES, json={"userDefinedData": {"project": "none"}}).status_code == 404
    assert client.delete(path).status_code == 204


def test_others_do_not_see_that_there_is_one(room: AccountRoom, client: TestClient) -> None:
    client.post("/api/v1/projects", json={"name": "red"})
    stranger = room.with_token("package-stranger", Role.OPERATOR)
    client.put("/api/v1/projects/red/members/package-stranger")
    client.delete("/api/v1/projects/default/members/package-stranger")
    made = Csar()
    ours = upload(client, made.packed())
    path = f"{PACKAGES}/{ours['id']}"
    assert stranger.get(PACKAGES).json() == []
    for method, tail, body in (
        ("GET", "", None),
        ("PATCH", "", {"operationalState": "DISABLED"}),
        ("DELETE", "", None),
        ("GET", "/package_content", None),
        ("PUT", "/package_content", {}),
        ("GET", "/vnfd", None),
        ("GET", f"/artifacts/{README}", None),
    ):
        answer = stranger.request(method, path + tail, json=body)
        assert answer.status_code == 404, (method, tail)
    refused = stranger.post(INSTANCES, json={"vnfdId": made.vnfd_id})
    assert refused.status_code == 422

    theirs = upload(stranger, made.packed())
    assert theirs["onboardingState"] == "ONBOARDED", "the same VNFD in another project"
    client.patch(path, json={"operationalState": "DISABLED"})
    assert client.delete(path).status_code == 204
    assert "Router-2.1" in images(stranger), "their image stays"
    refused = client.post(INSTANCES, json={"vnfdId": made.vnfd_id})
    assert refused.status_code == 422, "who sees all gets nothing of another project unasked"
    asked = {"vnfdId": made.vnfd_id, "metadata": {"project": "red"}}
    instance = client.post(INSTANCES, json=asked)
    assert instance.status_code == 201
    assert client.delete(f"{INSTANCES}/{instance.json()['id']}").status_code == 204
    drop(stranger, theirs)
    assert room.with_token("package-viewer", Role.VIEWER).post(PACKAGES, json={}).status_code == 403


def test_after_a_crash_an_upload_is_begun_again_and_processing_goes_on(
    room: AccountRoom, client: TestClient, folder: Path
) -> None:
    """As `kill -9` leaves rows and files, and the start of an orchestrator finds them."""
    half, whole, tried = create(client), create(client), create(client)
    made = Csar()
    (folder / f"{half}.part").write_bytes(b"PK")
    (folder / whole).write_bytes(made.packed())
    (folder / f"{whole}.image").write_bytes(b"half an image")
    (folder / tried).write_bytes(made.packed())
    states = {half: ("UPLOADING", 0), whole: ("PROCESSING", 1), tried: ("PROCESSING", 3)}
    with writing(room.engine) as session:
        for package_id, (state, tries) in states.items():
            session.execute(
                update(VnfPackageRow)
                .where(VnfPackageRow.package_id == UUID(package_id))
                .values(onboarding_state=state, tries=tries)
            )
    clock, ownership = SystemClock(), Ownership(room.engine)
    intake = PackageIntake(
        PackageStore(room.engine, clock, ownership),
        Catalogue(room.engine, folder.parent, clock, max_image_bytes=10**6, ownership=ownership),
        folder,
        clock,
        deployments=lambda _: 0,
        max_bytes=10**6,
    )
    intake.settle()
    again = at_rest(client, whole)
    assert (again["onboardingState"], again["vnfdId"]) == ("ONBOARDED", made.vnfd_id)
    failed = at_rest(client, half)
    assert (failed["onboardingState"], "broke off" in str(failed)) == ("CREATED", True)
    assert "3 times" in at_rest(client, tried)["onboardingFailureDetails"]["detail"]
    assert {file.name for file in folder.iterdir()} == {whole}
    assert client.put(f"{PACKAGES}/{half}/package_content", content=disk()).status_code == 202
    drop(client, at_rest(client, half))
    drop(client, again)
    assert client.delete(f"{PACKAGES}/{tried}").status_code == 204
    assert list(folder.iterdir()) == []
    intake.close()
