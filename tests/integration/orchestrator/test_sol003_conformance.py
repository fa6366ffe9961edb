"""SOL003 over the whole REST of an orchestrator that is not started: methods, statuses, manners."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from account_room import AccountRoom
from fastapi.testclient import TestClient
from lcm_subscriber import Subscriber
from sqlalchemy import select, update

from database import reading, writing
from orchestrator.accounts.identity import Role
from orchestrator.events.bus import EventBus
from orchestrator.projects.tables import MemberRow
from orchestrator.sol003.notifications.tables import NotificationRow
from orchestrator.store.tables import DeploymentRow, OperationRow
from orchestrator.vnf_lcm.states import DeploymentState, OperationKind, OperationState
from orchestrator.workflow.journal import OperationJournal
from timekeeping import SystemClock

INSTANCES = "/vnflcm/v1/vnf_instances"
OCCURRENCES = "/vnflcm/v1/vnf_lcm_op_occs"
SUBSCRIPTIONS = "/vnflcm/v1/subscriptions"
PACKAGES = "/vnfpkgm/v1/vnf_packages"
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def client(room: AccountRoom) -> TestClient:
    visitor = room.visitor()
    visitor.headers["X-Auth-Token"] = room.local_token
    return visitor


@pytest.fixture(scope="module")
def package(client: TestClient) -> dict[str, Any]:
    """The VNF package of a disk in the catalogue."""
    disk = bytes(510) + b"\x55\xaa" + secrets.token_bytes(99_488)
    assert client.post("/api/v1/images?name=router", content=disk).status_code == 201
    found = client.get(PACKAGES, params={"filter": "(eq,vnfProductName,router)"}).json()
    assert len(found) == 1
    document: dict[str, Any] = client.get(f"{PACKAGES}/{found[0]['id']}").json()
    return document


def create(client: TestClient, package: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = client.post(INSTANCES, json={"vnfdId": package["vnfdId"], **more})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == document["_links"]["self"]["href"]
    return document


class Deployed:
    """A VNF instance whose deployment and operation are set to any state, as if by the engine."""

    def __init__(self, room: AccountRoom, client: TestClient, package: dict[str, Any]) -> None:
        self.room, self.client = room, client
        self.document = create(client, package, vnfInstanceName="d")
        self.id = self.document["id"]
        digest = bytes.fromhex(package["checksum"]["hash"])
        self.operation_id = uuid4()
        clock = SystemClock()
        journal = OperationJournal(room.engine, clock, EventBus())
        with writing(room.engine) as session:
            session.add(
                DeploymentRow(
                    deployment_id=UUID(self.id),
                    name="d",
                    data_centre="dc-1",
                    image_digest=digest,
                    cipher="aes-256-gcm",
                    key_mode="pooled",
                    memory_mib=64,
                    cpus=1.0,
                    state="DEPLOYING",
                    instance={"instance_id": self.id, "vim": "v", "vim_instance_id": "c0ffee"},
                    created_at=clock.now(),
                    changed_at=clock.now(),
                )
            )
            journal.add(
                session,
                self.operation_id,
                UUID(self.id),
                OperationKind.INSTANTIATE,
                ["boot"],
                wait_until=None,
                parameters={"wait_s": 60.0},
            )

    def be(self, deployment: DeploymentState, operation: OperationState) -> None:
        with writing(self.room.engine) as session:
            session.execute(
                update(DeploymentRow)
                .where(DeploymentRow.deployment_id == UUID(self.id))
                .values(state=deployment.value)
            )
            session.execute(
                update(OperationRow)
                .where(OperationRow.operation_id == self.operation_id)
                .values(state=operation.value, error={"title": "t", "status": 500, "detail": "d"})
            )

    def show(self) -> dict[str, Any]:
        document: dict[str, Any] = self.client.get(f"{INSTANCES}/{self.id}").json()
        return document

    def occurrence(self) -> dict[str, Any]:
        document: dict[str, Any] = self.client.get(f"{OCCURRENCES}/{self.operation_id}").json()
        return document


@pytest.fixture(scope="module")
def deployed(room: AccountRoom, client: TestClient, package: dict[str, Any]) -> Deployed:
    return Deployed(room, client, package)


# --- the standard's tables of resources and methods

METHODS = {
    "/vnflcm/api_versions": {"GET"},
    "/vnflcm/v1/api_versions": {"GET"},
    INSTANCES: {"GET", "POST"},
    f"{INSTANCES}/{NOBODY}": {"GET", "PATCH", "DELETE"},
    **{
        f"{INSTANCES}/{NOBODY}/{t}": {"POST"}
        for t in ("instantiate", "terminate", "operate", "heal", "scale", "scale_to_level")
    },
    OCCURRENCES: {"GET"},
    f"{OCCURRENCES}/{NOBODY}": {"GET"},
    **{f"{OCCURRENCES}/{NOBODY}/{t}": {"POST"} for t in ("retry", "rollback", "fail", "cancel")},
    SUBSCRIPTIONS: {"GET", "POST"},
    f"{SUBSCRIPTIONS}/{NOBODY}": {"GET", "DELETE"},
    PACKAGES: {"GET", "POST"},
    f"{PACKAGES}/{NOBODY}": {"GET", "PATCH", "DELETE"},
    f"{PACKAGES}/{NOBODY}/package_content": {"GET", "PUT"},
    f"{PACKAGES}/{NOBODY}/vnfd": {"GET"},
    f"{PACKAGES}/{NOBODY}/artifacts/Files/x": {"GET"},
}
NEEDS_NOTHING = {PACKAGES: 201}
EVERY = ("GET", "POST", "PUT", "PATCH", "DELETE")
BODIES = {
    "instantiate": {"flavourId": "default", "additionalParams": {"data_centre": "dc-1"}},
    "terminate": {"terminationType": "FORCEFUL"},
    "operate": {"changeStateTo": "STOPPED"},
    "heal": {},
    "scale": {"type": "SCALE_OUT", "aspectId": "workers"},
    "scale_to_level": {"scaleInfo": [{"aspectId": "workers", "scaleLevel": 1}]},
    "cancel": {"cancelMode": "FORCEFUL"},
}


@pytest.mark.parametrize("path", METHODS)
@pytest.mark.parametrize("method", EVERY)
def test_methods_are_those_of_the_standard(client: TestClient, method: str, path: str) -> None:
    body = BODIES.get(path.rpartition("/")[2], {})
    answer = client.request(method, path, json=None if method in ("GET", "DELETE") else body)
    assert answer.headers["Version"] == "1.3.0"
    if method not in METHODS[path]:
        assert answer.status_code == 405
    elif NOBODY in path:
        assert answer.status_code == 404
    elif method == "POST":
        assert answer.status_code == NEEDS_NOTHING.get(path, 400), "something is missing"
    else:
        assert answer.status_code == 200
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert answer.json()["detail"]


# --- packages


def test_an_image_is_a_package_with_a_vnfd_of_one_vdu(
    client: TestClient, package: dict[str, Any]
) -> None:
    assert package["onboardingState"] == "ONBOARDED"
    assert package["operationalState"] == "ENABLED"
    (image,) = package["softwareImages"]
    assert (image["name"], image["size"], image["diskFormat"]) == ("router", 100_000, "RAW")
    assert image["checksum"]["hash"] == package["checksum"]["hash"]
    vnfd = client.get(f"{PACKAGES}/{package['id']}/vnfd")
    assert vnfd.headers["content-type"].startswith("text/plain")
    assert package["vnfdId"] in vnfd.text


# --- instances


def test_the_life_of_an_instance_that_is_not_instantiated(
    client: TestClient, package: dict[str, Any]
) -> None:
    made = create(client, package, vnfInstanceName="one", metadata={"a": 1, "b": {"c": 2}})
    assert made["instantiationState"] == "NOT_INSTANTIATED"
    assert set(made["_links"]) == {"self", "instantiate"}
    assert None not in made.values()
    path = f"{INSTANCES}/{made['id']}"
    etag = client.get(path).headers["ETag"]
    patch = {"vnfInstanceDescription": "x", "metadata": {"a": None, "b": {"d": 3}}}
    stale = client.patch(path, json=patch, headers={"If-Match": '"else"'})
    assert stale.status_code == 412
    changed = client.patch(
        path,
        json=patch,
        headers={"If-Match": etag, "Content-Type": "application/merge-patch+json"},
    )
    assert changed.status_code == 202
    occurrence = client.get(changed.headers["Location"]).json()
    assert (occurrence["operation"], occurrence["operationState"]) == ("MODIFY_INFO", "COMPLETED")
    assert occurrence["vnfInstanceId"] == made["id"]
    after = client.get(path)
    assert after.json()["metadata"] == {"b": {"c": 2, "d": 3}}
    assert (after.json()["vnfInstanceName"], after.json()["vnfInstanceDescription"]) == ("one", "x")
    assert client.patch(path, json={}, headers={"If-Match": etag}).status_code == 412
    for task in ("terminate", "operate", "heal"):
        refused = client.post(f"{path}/{task}", json=BODIES[task])
        assert refused.status_code == 409
        assert refused.json()["state"] == "NOT_INSTANTIATED"
        assert refused.json()["allowed_actions"] == ["instantiate", "delete"]
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "vnfdId"),
        ({"vnfdId": "x"}, 400, "vnfdId"),
        ({"vnfdId": NOBODY}, 422, NOBODY),
        ({"vnfdId": NOBODY, "vnfInstanceName": 7}, 400, "vnfInstanceName"),
        ({"vnfdId": NOBODY, "colour": "red"}, 400, "colour"),
        ([], 400, "body"),
    ],
)
def test_what_cannot_be_created(client: TestClient, body: Any, status: int, says: str) -> None:
    answer = client.post(INSTANCES, json=body)
    assert answer.status_code == status
    assert says in answer.json()["detail"]
    assert answer.json()["next_step"]


@pytest.mark.parametrize(
    "pairs",
    [
        '{"a": NaN}',
        '{"a": "\\ud800"}',
        '{"\\ud800": 1}',
        '{"a": "' + "x" * 17_000 + '"}',
        "[]",
        "7",
    ],
)
def test_metadata_that_no_document_could_answer(
    client: TestClient, package: dict[str, Any], pairs: str
) -> None:
    body = '{"vnfdId": "' + package["vnfdId"] + '", "metadata": ' + pairs + "}"
    answer = client.post(INSTANCES, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "metadata" in answer.json()["detail"]
    assert client.get(INSTANCES).status_code == 200


def test_metadata_does_not_grow_without_end(client: TestClient, package: dict[str, Any]) -> None:
    path = f"{INSTANCES}/{create(client, package, metadata={'a': 'x' * 9_000})['id']}"
    answer = client.patch(path, json={"metadata": {"b": "x" * 9_000}})
    assert answer.status_code == 400
    assert client.patch(path, json={"metadata": {"a": None, "b": "y"}}).status_code == 202
    assert client.get(path).json()["metadata"] == {"b": "y"}


def test_an_instance_whose_image_was_taken_out(client: TestClient) -> None:
    disk = bytes(510) + b"\x55\xaa" + secrets.token_bytes(512)
    image = client.post("/api/v1/images?name=gone", content=disk).json()
    (package,) = client.get(PACKAGES, params={"filter": "(eq,vnfProductName,gone)"}).json()
    made = create(client, package)
    assert client.delete(f"/api/v1/images/{image['digest']}").status_code == 204
    path = f"{INSTANCES}/{made['id']}"
    assert client.get(path).json()["vnfdId"] == package["vnfdId"]
    answer = client.post(f"{path}/instantiate", json=BODIES["instantiate"])
    assert answer.status_code == 404
    assert "no image" in answer.json()["detail"]
    assert client.delete(path).status_code == 204


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "flavourId"),
        ({"flavourId": "large"}, 400, "flavourId"),
        ({"flavourId": "default", "extVirtualLinks": []}, 400, "extVirtualLinks"),
        ({"flavourId": "default"}, 422, "additionalParams.data_centre"),
        ({"flavourId": "default", "additionalParams": {"image": "other"}}, 422, "image"),
        (
            {
                "flavourId": "default",
                "additionalParams": {"data_centre": "dc-1", "cipher": "rot13"},
            },
            422,
            "additionalParams.cipher",
        ),
        (
            {"flavourId": "default", "additionalParams": {"data_centre": "dc-1", "wait_s": -1}},
            422,
            "additionalParams.wait_s",
        ),
        ({"flavourId": "default", "additionalParams": {"data_centre": "dc-99"}}, 404, "dc-99"),
    ],
)
def test_what_cannot_be_instantiated(
    client: TestClient, package: dict[str, Any], body: Any, status: int, says: str
) -> None:
    made = create(client, package)
    path = f"{INSTANCES}/{made['id']}"
    answer = client.post(f"{path}/instantiate", json=body)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
    assert client.get(path).json()["instantiationState"] == "NOT_INSTANTIATED"
    assert client.delete(path).status_code == 204, "nothing is half done"


@pytest.mark.parametrize(
    "query",
    ["dry_run=maybe", "dry_run=", "dry_run=true&dry_run=false", "colour=red", "dryRun=true"],
)
def test_a_query_that_instantiate_does_not_know(
    client: TestClient, package: dict[str, Any], query: str
) -> None:
    path = f"{INSTANCES}/{create(client, package)['id']}"
    answer = client.post(f"{path}/instantiate?{query}", json=BODIES["instantiate"])
    assert answer.status_code == 400
    assert "dry_run" in answer.json()["next_step"]
    assert client.delete(path).status_code == 204


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "flavourId"),
        ({"flavourId": "large"}, 400, "flavourId"),
        ({"flavourId": "default"}, 422, "additionalParams.data_centre"),
        ({"flavourId": "default", "additionalParams": {"data_centre": "dc-99"}}, 404, "dc-99"),
    ],
)
def test_a_dry_run_refuses_what_the_real_one_would(
    client: TestClient, package: dict[str, Any], body: Any, status: int, says: str
) -> None:
    path = f"{INSTANCES}/{create(client, package)['id']}"
    answer = client.post(f"{path}/instantiate?dry_run=true", json=body)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
    assert client.delete(path).status_code == 204


def test_a_dry_run_of_what_is_instantiated(deployed: Deployed) -> None:
    deployed.be(DeploymentState.RUNNING, OperationState.COMPLETED)
    path = f"{INSTANCES}/{deployed.id}/instantiate?dry_run=true"
    assert deployed.client.post(path, json=BODIES["instantiate"]).status_code == 409


STATES = [
    (DeploymentState.DEPLOYING, OperationState.WAITING_FOR_KEY, "NOT_INSTANTIATED", set()),
    (
        DeploymentState.RUNNING,
        OperationState.COMPLETED,
        "INSTANTIATED",
        {"terminate", "operate", "heal"},
    ),
    (DeploymentState.FAILED, OperationState.ROLLED_BACK, "NOT_INSTANTIATED", {"instantiate"}),
    (DeploymentState.FAILED, OperationState.FAILED, "INSTANTIATED", {"terminate"}),
    (DeploymentState.REMOVED, OperationState.COMPLETED, "NOT_INSTANTIATED", {"instantiate"}),
]


@pytest.mark.parametrize(("deployment", "operation", "state", "links"), STATES)
def test_an_instance_is_as_its_deployment(
    deployed: Deployed,
    deployment: DeploymentState,
    operation: OperationState,
    state: str,
    links: set[str],
) -> None:
    deployed.be(deployment, operation)
    document = deployed.show()
    assert document["instantiationState"] == state
    assert set(document["_links"]) - {"self"} == links
    assert ("instantiatedVnfInfo" in document) is (state == "INSTANTIATED")
    for task in ("instantiate", "terminate", "operate", "heal"):
        if task not in links:
            refused = deployed.client.post(f"{INSTANCES}/{deployed.id}/{task}", json=BODIES[task])
            assert refused.status_code == 409, task
            assert set(refused.json()["allowed_actions"]) - {"delete"} == links
    if "instantiate" not in links:
        assert deployed.client.delete(f"{INSTANCES}/{deployed.id}").status_code == 409


def test_a_running_instance_says_where_it_is(deployed: Deployed) -> None:
    deployed.be(DeploymentState.RUNNING, OperationState.COMPLETED)
    document = deployed.show()
    info = document["instantiatedVnfInfo"]
    assert info["vnfState"] == "STARTED"
    (vnfc,) = info["vnfcResourceInfo"]
    assert vnfc["computeResource"] == {"vimConnectionId": "dc-1", "resourceId": "c0ffee"}
    assert document["extensions"]["data_centre"] == "dc-1"


# --- occurrences


@pytest.mark.parametrize("state", list(OperationState))
def test_an_occurrence_is_as_its_operation(deployed: Deployed, state: OperationState) -> None:
    deployed.be(DeploymentState.DEPLOYING, state)
    document = deployed.occurrence()
    waits = state in (OperationState.WAITING_FOR_KEY, OperationState.WAITING_CIRCUIT)
    assert document["operationState"] == ("STARTING" if waits else state.value)
    assert document["vnfInstanceId"] == deployed.id
    assert document["operationParams"]["additionalParams"]["data_centre"] == "dc-1"
    links = set(document["_links"]) - {"self", "vnfInstance"}
    for action in ("retry", "rollback", "fail", "cancel"):
        if action not in links:
            path = f"{OCCURRENCES}/{deployed.operation_id}/{action}"
            refused = deployed.client.post(path, json=BODIES.get(action))
            assert refused.status_code == 409
            assert set(refused.json()["allowed_actions"]) == links
    held = state is OperationState.FAILED_TEMP
    assert (links == {"retry", "rollback", "fail"}) is held


def test_fail_answers_the_occurrence(deployed: Deployed) -> None:
    deployed.be(DeploymentState.DEPLOYING, OperationState.FAILED_TEMP)
    answer = deployed.client.post(f"{OCCURRENCES}/{deployed.operation_id}/fail")
    assert answer.status_code == 200
    assert answer.json()["operationState"] == "FAILED"
    assert answer.json()["error"]["detail"] == "d"
    assert deployed.show()["instantiationState"] == "INSTANTIATED", "something may be left"


@pytest.mark.parametrize("mode", [{}, {"cancelMode": "NOW"}])
def test_cancel_needs_its_mode(deployed: Deployed, mode: dict[str, str]) -> None:
    path = f"{OCCURRENCES}/{deployed.operation_id}/cancel"
    assert deployed.client.post(path, json=mode).status_code == 400


# --- manners


def test_versions(client: TestClient) -> None:
    answer = client.get("/vnflcm/api_versions", headers={"Version": "2.0.0"})
    assert answer.json()["uriPrefix"] == "/vnflcm"
    assert answer.json()["apiVersions"] == [{"version": "1.3.0", "isDeprecated": False}]
    assert client.get(INSTANCES, headers={"Version": "1.3.0"}).status_code == 200
    refused = client.get(INSTANCES, headers={"Version": "2.0.0"})
    assert refused.status_code == 406
    assert "1.3.0" in refused.json()["next_step"]


def test_the_interfaces_are_in_our_own_description(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths[INSTANCES]) == {"get", "post"}
    patch = paths[f"{INSTANCES}/{{vnf_instance_id}}"]["patch"]
    assert set(patch["requestBody"]["content"]) == {"application/merge-patch+json"}


def names(client: TestClient, **query: str) -> list[str]:
    answer = client.get(INSTANCES, params=query)
    assert answer.status_code == 200, answer.text
    return sorted(x.get("vnfInstanceName", "") for x in answer.json())


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(eq,vnfInstanceName,f-1)", ["f-1"]),
        ("(eq,vnfInstanceName,'f, (2)')", ["f, (2)"]),
        ("(in,vnfInstanceName,f-1,f-3)", ["f-1", "f-3"]),
        ("(cont,vnfInstanceName,f);(neq,vnfInstanceName,f-1)", ["f, (2)", "f-3"]),
        ("(gt,metadata/size,5)", ["f-3"]),
        ("(lte,metadata/size,5)", ["f, (2)"]),
        ("(eq,instantiationState,NONE)", []),
    ],
)
def test_filters(
    client: TestClient, package: dict[str, Any], expression: str, expected: list[str]
) -> None:
    if not names(client, filter="(eq,vnfInstanceName,f-1)"):
        create(client, package, vnfInstanceName="f-1")
        create(client, package, vnfInstanceName="f, (2)", metadata={"size": 5})
        create(client, package, vnfInstanceName="f-3", metadata={"size": 40})
    assert names(client, filter=expression) == expected


@pytest.mark.parametrize(
    "query",
    [
        {"filter": "(eq,colour,red)"},
        {"filter": "(eq,_links/colour,red)"},
        {"filter": "(like,id,x)"},
        {"filter": "(eq,id,x"},
        {"filter": "(eq,id,x)(eq,id,y)"},
        {"filter": "(eq,id,x,y)"},
        {"filter": ""},
        {"fields": "colour"},
        {"exclude_fields": "colour"},
        {"nextpage_opaque_marker": "colour"},
    ],
)
def test_queries_that_cannot_be_meant(client: TestClient, query: dict[str, str]) -> None:
    for path in (INSTANCES, OCCURRENCES, PACKAGES):
        answer = client.get(path, params=query)
        assert answer.status_code == 400, (path, answer.text)
        assert answer.json()["next_step"]


def test_attribute_selectors(deployed: Deployed) -> None:
    deployed.be(DeploymentState.RUNNING, OperationState.COMPLETED)

    def selected(**query: str) -> dict[str, Any]:
        query["filter"] = f"(eq,id,{deployed.id})"
        (found,) = deployed.client.get(INSTANCES, params=query).json()
        return dict(found)

    assert "instantiatedVnfInfo" not in selected()
    assert "instantiatedVnfInfo" not in selected(exclude_default="")
    assert selected(all_fields="") == deployed.show()
    some = selected(fields="instantiatedVnfInfo/vnfState")
    assert some["instantiatedVnfInfo"] == {"vnfState": "STARTED"}
    assert "extensions" not in some
    without = selected(exclude_fields="vnfdId,instantiatedVnfInfo/flavourId")
    assert "vnfdId" not in without
    assert set(without["instantiatedVnfInfo"]) == {"vnfState", "vnfcResourceInfo"}


def test_pages(client: TestClient, package: dict[str, Any]) -> None:
    for number in range(101):
        create(client, package, vnfInstanceName=f"page-{number}")
    query = {"filter": "(cont,vnfInstanceName,page-)"}
    first = client.get(INSTANCES, params=query)
    assert len(first.json()) == 100
    assert first.links["next"]["rel"] == "next"
    second = client.get(first.links["next"]["url"])
    assert len(second.json()) == 1
    assert "Link" not in second.headers
    assert len({each["id"] for each in first.json() + second.json()}) == 101


def test_others_see_neither_instance_nor_package_nor_occurrence(
    room: AccountRoom, client: TestClient, deployed: Deployed, package: dict[str, Any]
) -> None:
    stranger = room.with_token("stranger", Role.OPERATOR)
    assert stranger.get(f"{INSTANCES}/{deployed.id}").status_code == 200, "of the same project"
    user_id = room.accounts.users.named("stranger").user_id
    with writing(room.engine) as session:
        membership = session.get(MemberRow, ("default", user_id))
        session.delete(membership)
    assert stranger.get(INSTANCES).json() == []
    assert stranger.get(OCCURRENCES).json() == []
    assert stranger.get(PACKAGES).json() == []
    for path in (
        f"{INSTANCES}/{deployed.id}",
        f"{OCCURRENCES}/{deployed.operation_id}",
        f"{PACKAGES}/{package['id']}",
    ):
        assert stranger.get(path).status_code == 404
    assert stranger.delete(f"{INSTANCES}/{deployed.id}").status_code == 404
    refused = stranger.post(INSTANCES, json={"vnfdId": package["vnfdId"]})
    assert refused.status_code == 422
    assert client.get(f"{INSTANCES}/{deployed.id}").status_code == 200


# --- subscriptions


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    listening = Subscriber()
    yield listening
    listening.close()


def test_the_life_of_a_subscription(
    room: AccountRoom, client: TestClient, package: dict[str, Any], subscriber: Subscriber
) -> None:
    wish = {
        "callbackUri": f"{subscriber.url}/cb",
        "filter": {"notificationTypes": ["VnfIdentifierCreationNotification"]},
        "authentication": {
            "authType": ["BASIC"],
            "paramsBasic": {"userName": "u", "password": "s3cr3t"},
        },
    }
    answer = client.post(SUBSCRIPTIONS, json=wish)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    path = f"{SUBSCRIPTIONS}/{made['id']}"
    assert answer.headers["Location"] == made["_links"]["self"]["href"]
    assert (made["callbackUri"], made["filter"]) == (wish["callbackUri"], wish["filter"])
    assert "s3cr3t" not in answer.text
    assert [method for method, _, _ in subscriber.seen] == ["GET"]
    again = client.post(SUBSCRIPTIONS, json=wish, follow_redirects=False)
    assert (again.status_code, again.headers["Location"]) == (303, answer.headers["Location"])
    assert [each["id"] for each in client.get(SUBSCRIPTIONS).json()] == [made["id"]]
    assert client.get(path).json() == made

    instance = create(client, package)
    with reading(room.engine) as session:
        rows = session.scalars(
            select(NotificationRow).where(NotificationRow.subscription_id == UUID(made["id"]))
        )
        (body,) = [row.body for row in rows]
    assert body["vnfInstanceId"] == instance["id"]
    other = room.with_token("other-subscriber", Role.OPERATOR)
    assert other.get(SUBSCRIPTIONS).json() == []
    assert other.get(path).status_code == other.delete(path).status_code == 404
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    with reading(room.engine) as session:
        assert session.scalars(select(NotificationRow)).all() == []


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"callbackUri": None}, 400, "callbackUri"),
        ({"callbackUri": "http://elsewhere/cb"}, 422, "elsewhere"),
        ({"filter": {"operationTypes": ["DANCE"]}}, 400, "operationTypes"),
        ({"filter": {"colour": ["red"]}}, 400, "colour"),
        ({"authentication": {"authType": ["TLS_CERT"]}}, 400, "authType"),
        ({"authentication": {"authType": ["BASIC"]}}, 400, "needs its parameters"),
    ],
)
def test_what_cannot_be_subscribed(
    client: TestClient,
    subscriber: Subscriber,
    change: dict[str, Any],
    status: int,
    says: str,
) -> None:
    answer = client.post(SUBSCRIPTIONS, json={"callbackUri": subscriber.url, **change})
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
    assert subscriber.seen == []
