"""What a project owns, its members see and nobody else: over REST and on the web pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from account_room import AccountRoom
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from database import open_engine, writing
from key_management.states import KeyState
from key_management.tables import KeyRow, KeyUseRow
from orchestrator.accounts.identity import Role
from orchestrator.accounts.rules import ENDPOINTS
from orchestrator.accounts.tables import migrate_accounts
from orchestrator.audit.log import AuditLog
from orchestrator.audit.record import Entry
from orchestrator.audit.sight import EVERYBODYS
from orchestrator.network.owner_names import ANOTHER_S
from orchestrator.network.tables import WaitingRow
from orchestrator.projects.ownership import Kind, Ownership
from orchestrator.projects.tables import migrate_projects
from orchestrator.sol003.packages import image_package_id
from orchestrator.sol003.tables import VnfInstanceRow
from orchestrator.store.tables import (
    AlarmRow,
    DeploymentRow,
    ImageRow,
    OperationRow,
    PromiseRow,
    TransferRow,
)
from orchestrator.vnf_lcm.watch import DRIFT
from timekeeping import SystemClock

PAGE = {"Accept": "text/html"}
OF_ONE = re.compile(
    r"\{(deployment_id|operation_id|reference|vnf_instance_id|occurrence_id|vnf_package_id|alarm_id)\}"
)
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/deployments/{deployment_id}/operate": {"change_to": "STOPPED"},
    "/instantiate": {"flavourId": "default", "additionalParams": {"data_centre": "dc-1"}},
    "/scale": {"type": "SCALE_OUT", "aspectId": "workers"},
    "/scale_to_level": {"instantiationLevelId": "large"},
    "/terminate": {"terminationType": "FORCEFUL"},
    "/vnf_instances/{vnf_instance_id}/operate": {"changeStateTo": "STOPPED"},
    "/vnf_lcm_op_occs/{occurrence_id}/cancel": {"cancelMode": "FORCEFUL"},
    "/vnf_packages/{vnf_package_id}": {"operationalState": "DISABLED"},
}
"""What the end of a path wants to be told."""


@dataclass(frozen=True)
class Owned:
    """An image and a deployment of one project."""

    project: str
    digest: bytes
    deployment: UUID
    operation: UUID
    alarm: UUID

    @property
    def marks(self) -> tuple[str, ...]:
        """What tells of them wherever it is shown."""
        return (
            f"image-of-{self.project}", f"vnf-of-{self.project}", self.digest.hex()[:12],
            str(self.deployment), str(self.operation), str(self.deployment)[:8],
        )  # fmt: skip


def own(room: AccountRoom, project: str) -> Owned:
    now = SystemClock().now()
    later = now + timedelta(hours=1)
    digest, deployment, operation, alarm = uuid4().bytes * 2, uuid4(), uuid4(), uuid4()
    with writing(room.engine) as session:
        session.add_all(
            [
                ImageRow(
                    digest=digest, name=f"image-of-{project}", format="docker-archive", size=9,
                    vim_image_id="sha256:00", added_at=now,
                ),
                DeploymentRow(
                    deployment_id=deployment, name=f"vnf-of-{project}", data_centre="dc-1",
                    image_digest=digest, cipher="aes-256-gcm", key_mode="pooled", memory_mib=1,
                    cpus=1.0, state="RUNNING", instance=None, created_at=now, changed_at=now,
                ),
                OperationRow(
                    operation_id=operation, deployment_id=deployment, kind="INSTANTIATE",
                    state="FAILED_TEMP", transfer_id=operation, on_failure="hold", tries=1,
                    cancel_requested=False, created_at=now,
                ),
                TransferRow(
                    transfer_id=operation, operation_id=operation, data_centre="dc-1", link="l",
                    key_id=uuid4(), emulated_key=True, cipher="aes-256-gcm", image_digest=digest,
                    image_size=9, vim_image_id="x", bytes_sent=9, created_at=now,
                ),
                PromiseRow(
                    operation_id=operation, link="l", bits=1, asked_at=now, due_at=later,
                    promised_at=later,
                ),
                AlarmRow(
                    alarm_id=alarm, kind=DRIFT, subject=str(deployment), since=now, last_at=now,
                    detail=f"{str(deployment)[:8]} in dc-1: it was stopped",
                ),
                WaitingRow(
                    owner=f"operation:{operation}", purpose="image-transfer", from_end_point="a",
                    to_end_point="b", requested_at=now,
                ),
            ]
        )  # fmt: skip
        Ownership.own(session, Kind.DEPLOYMENT, deployment, project)
        Ownership.own(session, Kind.IMAGE, digest, project)
    AuditLog(room.engine, SystemClock()).append(
        Entry(
            "somebody", "operator", "token", "", "POST /api/v1/deployments", "202",
            {"deployment": str(deployment), "image": digest.hex()},
        )
    )  # fmt: skip
    return Owned(project, digest, deployment, operation, alarm)


@pytest.fixture(scope="module")
def owner(room: AccountRoom) -> TestClient:
    return room.owner()


def member(room: AccountRoom, owner: TestClient, name: str, *projects: str) -> TestClient:
    client = room.with_token(name, Role.OPERATOR)
    for project in projects:
        owner.post("/api/v1/projects", json={"name": project})
        assert owner.put(f"/api/v1/projects/{project}/members/{name}").status_code == 200
    assert owner.delete(f"/api/v1/projects/default/members/{name}").status_code == 200
    return client


@pytest.fixture(scope="module")
def ann(room: AccountRoom, owner: TestClient) -> TestClient:
    return member(room, owner, "ann", "red")


@pytest.fixture(scope="module")
def ben(room: AccountRoom, owner: TestClient) -> TestClient:
    return member(room, owner, "ben", "blue")


@pytest.fixture(scope="module")
def cleo(room: AccountRoom, owner: TestClient) -> TestClient:
    """Who has not asked for anything yet: what somebody asked for is in his own audit."""
    return member(room, owner, "cleo", "blue")


@pytest.fixture(scope="module")
def red(room: AccountRoom, ann: TestClient) -> Owned:
    return own(room, "red")


ENDPOINTS_OF_ONE = [
    endpoint
    for role in (Role.VIEWER, Role.OPERATOR)
    for endpoint in ENDPOINTS[role]
    if OF_ONE.search(endpoint)
]


def ask(client: TestClient, endpoint: str, ids: dict[str, str]) -> Any:
    method, _, path = endpoint.partition(" ")
    body = next((body for end, body in BODIES.items() if path.endswith(end)), {})
    path = OF_ONE.sub(lambda match: ids[match[1]], path).replace("{artifact_path:path}", "a")
    options: dict[str, Any] = {"json": body} if method in ("POST", "PUT", "PATCH") else {}
    headers: dict[str, str] = {}
    if not path.startswith(("/api/", "/vnf")):
        headers |= PAGE
    if method == "PATCH":
        headers["Content-Type"] = "application/merge-patch+json"
    if path.endswith("/package_content") and method == "PUT":
        headers["Content-Type"] = "application/zip"
    return client.request(method, path, headers=headers, **options)


@pytest.mark.parametrize("endpoint", ENDPOINTS_OF_ONE)
def test_what_is_another_s_is_answered_as_if_there_were_no_such_thing(
    ben: TestClient, red: Owned, endpoint: str
) -> None:
    theirs = {
        "deployment_id": str(red.deployment),
        "operation_id": str(red.operation),
        "reference": red.digest.hex(),
        "vnf_instance_id": str(red.deployment),
        "occurrence_id": str(red.operation),
        "vnf_package_id": str(image_package_id(red.digest)),
        "alarm_id": str(red.alarm),
    }
    nothing = {
        "deployment_id": str(uuid4()),
        "operation_id": str(uuid4()),
        "reference": (uuid4().bytes * 2).hex(),
    }
    nothing |= {name: str(uuid4()) for name in theirs if name not in nothing}
    answer, of_nothing = ask(ben, endpoint, theirs), ask(ben, endpoint, nothing)
    assert (answer.status_code, of_nothing.status_code) == (404, 404), answer.text
    if answer.headers["content-type"] == "application/problem+json":
        mine, his = of_nothing.json(), answer.json()
        for name in theirs:
            his = {k: str(v).replace(theirs[name], "ID") for k, v in his.items()}
            mine = {k: str(v).replace(nothing[name], "ID") for k, v in mine.items()}
        assert mine == his


LISTS = [
    endpoint.partition(" ")[2]
    for role in (Role.VIEWER, Role.OPERATOR)
    for endpoint in ENDPOINTS[role]
    if endpoint.startswith("GET ") and "{" not in endpoint and not endpoint.endswith("/events")
    and endpoint not in ("GET /api/v1/network/paths", "GET /openapi.json")
    and "/static/" not in endpoint and "/live" not in endpoint
]  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_no_list_and_no_page_tells_of_what_is_another_s(
    cleo: TestClient, red: Owned, path: str
) -> None:
    answer = cleo.get(path, headers=PAGE if "/api/" not in path else None)
    assert answer.status_code < 500, answer.text
    for mark in red.marks:
        assert mark not in answer.text, mark


def test_members_see_and_use_what_is_theirs(ann: TestClient, red: Owned) -> None:
    assert [one["name"] for one in ann.get("/api/v1/images").json()] == ["image-of-red"]
    (deployment,) = ann.get("/api/v1/deployments").json()
    assert (deployment["name"], deployment["project"]) == ("vnf-of-red", "red")
    assert [one["operation_id"] for one in ann.get("/api/v1/operations").json()] == [
        str(red.operation)
    ]
    assert len(ann.get("/api/v1/transfers").json()) == 1
    assert ann.get(f"/api/v1/operations/{red.operation}").status_code == 200
    told = [one["subjects"] for one in ann.get("/api/v1/audit").json()["records"]]
    assert {"deployment": str(red.deployment), "image": red.digest.hex()} in told
    assert "vnf-of-red" in ann.get("/deployments", headers=PAGE).text


def test_what_is_everybody_s_tells_members_of_their_own(
    ann: TestClient, ben: TestClient, red: Owned
) -> None:
    """Alarms, promises of the schedule, circuits."""
    mine, his = (
        {
            "alarms": [one["subject"] for one in client.get("/api/v1/alarms").json()],
            "promises": [
                one["operation_id"]
                for one in client.get("/api/v1/schedule/promises").json()["promises"]
            ],
            "circuits": client.get("/api/v1/circuits").json()["waiting"],
        }
        for client in (ann, ben)
    )
    assert mine == {
        "alarms": [str(red.deployment)],
        "promises": [str(red.operation)],
        "circuits": [f"operation:{red.operation}"],
    }
    assert his == {"alarms": [], "promises": [], "circuits": [ANOTHER_S]}
    acknowledge = f"/api/v1/alarms/{red.alarm}/acknowledge"
    assert ben.post(acknowledge).status_code == 404
    assert [one["subject"] for one in ann.get("/api/v1/alarms").json()] == mine["alarms"]


def test_a_key_s_trace_tells_members_alone_what_it_protects(
    room: AccountRoom, ann: TestClient, ben: TestClient, red: Owned
) -> None:
    key, link = uuid4(), room.settings.data_centres[0].link
    now = SystemClock().now()
    with writing(room.engine) as session:
        session.add_all(
            [
                KeyRow(
                    link=link, key_id=key, state=KeyState.CONSUMED.value, emulated=True,
                    epoch=uuid4(), fingerprint=uuid4().bytes * 2, made_at=now, changed_at=now,
                ),
                KeyUseRow(
                    link=link, key_id=key, transfer_id=red.operation, image_digest=red.digest,
                    destination="dc-1", armed_at=now,
                ),
            ]
        )  # fmt: skip
    mine, his = (client.get(f"/api/v1/keys/{key}/trace").json() for client in (ann, ben))
    assert mine["use"]["transfer_id"] == str(red.operation)
    assert (his["use"], his["is_others"], his["state"]) == (None, True, "CONSUMED")
    page = ben.get("/keys/trace", params={"key_id": str(key)}, headers=PAGE).text
    assert "something of another project" in page
    for mark in red.marks:
        assert mark not in page


def test_administrators_see_all(owner: TestClient, red: Owned) -> None:
    assert "vnf-of-red" in [one["name"] for one in owner.get("/api/v1/deployments").json()]


def test_what_is_the_default_project_s_is_seen_by_its_members(
    room: AccountRoom, ben: TestClient
) -> None:
    new = room.with_token("dora", Role.VIEWER)
    own(room, "default")
    assert "image-of-default" in [one["name"] for one in new.get("/api/v1/images").json()]
    assert "image-of-default" not in [one["name"] for one in ben.get("/api/v1/images").json()]


def add_image(client: TestClient, name: str, content: bytes, **more: str) -> Any:
    return client.post("/api/v1/images", params={"name": name, **more}, content=content)


def raw_disk(mark: bytes) -> bytes:
    """A disk with a boot sector."""
    sector = bytearray(1024 * 1024)
    sector[:4] = mark
    sector[510:512] = b"\x55\xaa"
    return bytes(sector)


def test_the_same_content_may_be_several_projects_and_goes_with_the_last(
    room: AccountRoom, ann: TestClient, ben: TestClient, owner: TestClient
) -> None:
    content = raw_disk(b"same")
    first = add_image(ann, "shared", content)
    assert first.status_code == 201, first.text
    assert first.json()["projects"] == ["red"]
    second = add_image(ben, "shared", content)
    assert second.json()["digest"] == first.json()["digest"]
    assert second.json()["projects"] == ["blue"]
    assert ann.delete("/api/v1/images/shared").status_code == 204
    assert ann.get("/api/v1/images/shared").status_code == 404
    assert ben.get("/api/v1/images/shared").status_code == 200
    assert ben.delete("/api/v1/images/shared").status_code == 204
    assert owner.get("/api/v1/images/shared").status_code == 404


def test_who_owns_the_same_image_does_not_learn_who_else_added_it(
    room: AccountRoom, ann: TestClient, ben: TestClient
) -> None:
    content = raw_disk(b"twin")
    digest = add_image(ann, "twin", content).json()["digest"]
    begun = ben.post("/api/v1/uploads", json={"name": "twin", "size_bytes": len(content)})
    sent = ben.patch(
        f"/api/v1/uploads/{begun.json()['upload_id']}",
        content=content,
        headers={"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"},
    )
    assert sent.status_code == 204, sent.text
    assert ben.get("/api/v1/images/twin").json()["digest"] == digest
    for client, name, project in ((ann, "ann", "red"), (ben, "ben", "blue")):
        records = client.get("/api/v1/audit", params={"subject": digest}).json()["records"]
        about = [each for each in records if each["subjects"].get("image") == digest]
        assert [(each["who"], each["subjects"]["project"]) for each in about] == [(name, project)]


def test_who_has_several_projects_says_which(room: AccountRoom, owner: TestClient) -> None:
    eve = member(room, owner, "eve", "green", "grey")
    refused = add_image(eve, "which", raw_disk(b"eve0"))
    assert refused.status_code == 422
    assert "green, grey" in refused.json()["detail"]
    assert add_image(eve, "which", raw_disk(b"eve0"), project="red").status_code == 404
    added = add_image(eve, "which", raw_disk(b"eve0"), project="grey")
    assert added.json()["projects"] == ["grey"]
    begun = eve.post(
        "/api/v1/uploads", json={"name": "u", "size_bytes": 1024**2, "project": "green"}
    )
    assert begun.status_code == 201, begun.text
    sent = eve.patch(
        f"/api/v1/uploads/{begun.json()['upload_id']}",
        content=raw_disk(b"eve1"),
        headers={"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"},
    )
    assert sent.status_code == 204, sent.text
    assert eve.get("/api/v1/images/u").json()["projects"] == ["green"]


ABOUT_RED = ("vnf_instance", "vnf_instance_id", "deployment", "deployment_id", "operation",
             "operation_id", "occurrence_id", "project")  # fmt: skip


@pytest.mark.parametrize("subject", ABOUT_RED)
def test_the_audit_tells_members_alone_of_what_is_theirs(
    room: AccountRoom, ann: TestClient, ben: TestClient, red: Owned, subject: str
) -> None:
    told = {"project": "red"}
    told |= {name: str(red.operation) for name in ABOUT_RED if name[0] == "o"}
    value = told.get(subject, str(red.deployment))
    audit = AuditLog(room.engine, SystemClock())
    audit.append(Entry("zoe", "operator", "token", "", f"about {subject}", "202", {subject: value}))
    asked = {"action": f"about {subject}"}
    assert len(ann.get("/api/v1/audit", params=asked).json()["records"]) >= 1
    assert ben.get("/api/v1/audit", params=asked).json()["records"] == []


@pytest.mark.parametrize("subject", ["vnf_instance", "image", "vnf_package", "upload", "reference"])
def test_the_audit_tells_nobody_of_what_is_gone(
    room: AccountRoom, ben: TestClient, subject: str
) -> None:
    """Whose it was is not known any more."""
    new = room.with_token(f"late-{subject.replace('_', '-')}", Role.OPERATOR)
    gone = uuid4().bytes.hex() * 2 if subject == "image" else str(uuid4())
    audit = AuditLog(room.engine, SystemClock())
    audit.append(Entry("zoe", "operator", "token", "", f"gone {subject}", "204", {subject: gone}))
    for client in (ben, new):
        asked = client.get("/api/v1/audit", params={"action": f"gone {subject}"})
        assert asked.json()["records"] == []


def test_who_has_a_name_anew_does_not_see_what_was_done_under_it_before(
    room: AccountRoom, owner: TestClient
) -> None:
    first = room.with_token("guy", Role.OPERATOR)
    assert first.delete("/api/v1/images/of-the-first-guy").status_code == 404
    refused = {"action": "DELETE /api/v1/images"}
    assert len(first.get("/api/v1/audit", params=refused).json()["records"]) == 1
    assert owner.delete("/api/v1/users/guy").status_code == 204
    second = room.with_token("guy", Role.OPERATOR)
    assert second.get("/api/v1/audit", params=refused).json()["records"] == []


def test_who_has_a_name_anew_does_not_go_on_with_its_uploads(
    room: AccountRoom, owner: TestClient
) -> None:
    first = room.with_token("ida", Role.OPERATOR)
    begun = first.post("/api/v1/uploads", json={"name": "u", "size_bytes": 4}).json()
    assert len(first.get("/api/v1/uploads").json()) == 1
    assert owner.delete("/api/v1/users/ida").status_code == 204
    second = room.with_token("ida", Role.OPERATOR)
    assert second.get("/api/v1/uploads").json() == []
    assert second.get(f"/api/v1/uploads/{begun['upload_id']}").status_code == 404
    assert begun["upload_id"] not in second.get("/images", headers=PAGE).text


def test_every_subject_of_a_change_is_somebody_s_or_everybody_s() -> None:
    """A new placeholder of a path is hidden from strangers until it is said to be everybody's."""
    known = EVERYBODYS | {
        "deployment_id", "operation_id", "occurrence_id", "vnf_instance_id", "vnf_package_id",
        "reference", "subscription_id", "upload_id",
    }  # fmt: skip
    named = {
        name
        for endpoints in ENDPOINTS.values()
        for endpoint in endpoints
        if not endpoint.startswith("GET ")
        for name in re.findall(r"\{(\w+)\}", endpoint)
    }
    assert named <= known


def test_projects_and_their_members(room: AccountRoom, owner: TestClient, ben: TestClient) -> None:
    assert owner.post("/api/v1/projects", json={"name": "No"}).status_code == 422
    assert owner.post("/api/v1/projects", json={"name": "new", "purpose": "x"}).status_code == 201
    assert owner.post("/api/v1/projects", json={"name": "new"}).status_code == 409
    assert owner.put("/api/v1/projects/new/members/nobody-here").status_code == 404
    assert [one["name"] for one in ben.get("/api/v1/projects").json()] == ["blue"]
    assert ben.get("/api/v1/projects/new").status_code == 404
    assert owner.put("/api/v1/projects/new/members/ben").json()["members"] == ["ben"]
    assert owner.delete("/api/v1/projects/new/members/ben").json()["members"] == []
    assert owner.delete("/api/v1/projects/new").status_code == 204
    assert owner.delete("/api/v1/projects/default").status_code == 409


def test_a_project_that_owns_something_stays(owner: TestClient, red: Owned) -> None:
    refused = owner.delete("/api/v1/projects/red")
    assert refused.status_code == 409
    assert "1 deployment(s)" in refused.json()["detail"]


def test_a_project_goes_when_all_that_it_owns_is_past(
    room: AccountRoom, owner: TestClient, ben: TestClient
) -> None:
    owner.post("/api/v1/projects", json={"name": "brief"})
    past = own(room, "brief")

    def be(state: str) -> None:
        with writing(room.engine) as session:
            session.get_one(DeploymentRow, past.deployment).state = state

    refused = owner.delete("/api/v1/projects/brief")
    assert refused.json()["detail"] == "brief owns 1 deployment(s), 1 image(s)."
    be("REMOVED")
    refused = owner.delete("/api/v1/projects/brief")
    assert refused.json()["detail"] == "brief owns 1 image(s)."
    be("RUNNING")
    assert owner.delete(f"/api/v1/images/{past.digest.hex()}").status_code == 409
    assert owner.get("/api/v1/projects/brief").json()["owned"] == {"deployment": 1, "image": 1}
    be("REMOVED")
    assert owner.delete(f"/api/v1/images/{past.digest.hex()}").status_code == 204
    assert owner.delete("/api/v1/projects/brief").status_code == 204

    again = member(room, owner, "beate", "brief")
    for client in (again, ben, room.with_token("new-in-default", Role.OPERATOR)):
        assert client.get(f"/api/v1/deployments/{past.deployment}").status_code == 404
        assert client.get(f"/api/v1/operations/{past.operation}").status_code == 404
    seen = owner.get(f"/api/v1/deployments/{past.deployment}").json()
    assert (seen["name"], seen["project"]) == ("vnf-of-brief", "")


def test_a_vnf_instance_that_can_come_again_keeps_its_project(
    room: AccountRoom, owner: TestClient
) -> None:
    owner.post("/api/v1/projects", json={"name": "again"})
    kept = own(room, "again")
    with writing(room.engine) as session:
        session.get_one(DeploymentRow, kept.deployment).state = "REMOVED"
        session.add(
            VnfInstanceRow(
                vnf_instance_id=kept.deployment, image_digest=kept.digest, name="", version=1,
                description="", key_values={}, deployment_id=kept.deployment,
                created_at=SystemClock().now(),
            )
        )  # fmt: skip
    assert owner.delete(f"/api/v1/images/{kept.digest.hex()}").status_code == 204
    refused = owner.delete("/api/v1/projects/again")
    assert refused.json()["detail"] == "again owns 1 deployment(s)."


def test_who_had_an_account_before_goes_on_to_see_what_there_is(database_url: str) -> None:
    engine: Engine = open_engine(database_url)
    migrate_accounts(engine)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO account_user (user_id, name, role, password_hash,"
                " must_change_password, created_at, password_at)"
                " VALUES (:id, 'old', 'viewer', 'x', 0, 0, 0)"
            ),
            {"id": uuid4().bytes},
        )
    migrate_projects(engine)
    migrate_projects(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT project FROM project_member")).all() == [
            ("default",)
        ]
    engine.dispose()
