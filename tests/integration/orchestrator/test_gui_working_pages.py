"""The pages that people work with, as each role sees them, while no data centre answers."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from account_room import PASSWORD, AccountRoom
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from orchestrator.accounts.identity import Role
from orchestrator.audit.log import AuditLog
from orchestrator.audit.record import Entry
from orchestrator.projects.ownership import Kind, Ownership
from orchestrator.projects.tables import DEFAULT
from orchestrator.store.tables import DeploymentRow, ImageRow, OperationRow
from orchestrator.vnf_lcm.states import DeploymentState, OperationKind, OperationState
from timekeeping import SystemClock

PAGE = {"Accept": "text/html"}
DIGEST = bytes.fromhex("ab" * 32)
PAGES = ("/images", "/deploy", "/operations", "/deployments", "/data-centres", "/accounts")


def block(client: TestClient, path: str, name: str) -> str:
    """What a page gets when it asks for one of its blocks."""
    answer = client.get(path, headers={"HX-Request": "true", "HX-Target": name})
    assert answer.status_code == 200, answer.text
    assert "<html" not in answer.text
    assert f'id="{name}"' in answer.text
    return answer.text


@pytest.fixture(scope="module")
def people(room: AccountRoom) -> dict[Role, TestClient]:
    return {role: person(room, role) for role in Role}


def person(room: AccountRoom, role: Role) -> TestClient:
    """A user as the orchestrator itself makes one, with a token."""
    owner, name = room.owner(), f"a-{role}"
    wish = {"name": name, "role": role, "password": PASSWORD, "must_change_password": False}
    assert owner.post("/api/v1/users", json=wish).status_code == 201
    made = owner.post("/api/v1/tokens", json={"name": "t", "user": name})
    visitor = room.visitor()
    visitor.headers["Authorization"] = f"Bearer {made.json()['token']}"
    return visitor


@pytest.fixture(scope="module")
def deployment(room: AccountRoom, people: dict[Role, TestClient]) -> DeploymentRow:
    """One that runs as far as we know, of an image with markup in its instance's name."""
    for page in PAGES:  # first without anything
        assert people[Role.OPERATOR].get(page, headers=PAGE).status_code == 200
    now = SystemClock().now()
    row = DeploymentRow(
        deployment_id=uuid4(),
        name="<b>web</b>",
        data_centre="dc-1",
        image_digest=DIGEST,
        cipher="aes-256-gcm",
        key_mode="pooled",
        memory_mib=256,
        cpus=1.0,
        state=DeploymentState.RUNNING.value,
        instance={"instance_id": str(uuid4())},
        created_at=now,
        changed_at=now,
    )
    operation_id = uuid4()
    operation = OperationRow(
        operation_id=operation_id,
        deployment_id=row.deployment_id,
        kind=OperationKind.INSTANTIATE.value,
        state=OperationState.FAILED_TEMP.value,
        transfer_id=operation_id,
        on_failure="hold",
        tries=1,
        cancel_requested=False,
        error={"title": "It broke", "detail": "The VIM said no.", "next_step": "Ask it why."},
        created_at=now,
    )
    image = ImageRow(
        digest=DIGEST,
        name="web",
        format="docker-archive",
        size=1_500_000,
        vim_image_id="sha256:" + "cd" * 32,
        added_at=now,
    )
    with Session(room.engine, expire_on_commit=False) as session, session.begin():
        session.add_all([image, row, operation])
        Ownership.own(session, Kind.IMAGE, DIGEST, DEFAULT)
        Ownership.own(session, Kind.DEPLOYMENT, row.deployment_id, DEFAULT)
    row.operation_id = operation_id  # type: ignore[attr-defined]
    return row


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("page", PAGES)
def test_every_role_sees_the_page_and_nothing_is_marked_up_by_names(
    people: dict[Role, TestClient], deployment: DeploymentRow, page: str, role: Role
) -> None:
    answer = people[role].get(page, headers=PAGE)
    assert answer.status_code == 200, answer.text
    assert "<b>web" not in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "<style" not in answer.text
    assert "style=" not in answer.text


def test_who_may_not_change_gets_no_buttons_for_it(
    people: dict[Role, TestClient], deployment: DeploymentRow
) -> None:
    paths = {
        "/images": "data-upload",
        f"/deployments/{deployment.deployment_id}": "/heal",
        f"/operations/{deployment.operation_id}": "/rollback",  # type: ignore[attr-defined]
        "/deploy": '<button class="primary">',
    }
    for path, button in paths.items():
        assert button in people[Role.OPERATOR].get(path, headers=PAGE).text, path
        seen = people[Role.VIEWER].get(path, headers=PAGE)
        assert seen.status_code == 200
        assert button not in seen.text, path
    assert people[Role.VIEWER].get("/audit", headers=PAGE).status_code == 403
    custody = f"/deployments/{deployment.deployment_id}"
    assert "No operation on it" in block(people[Role.OPERATOR], custody, "custody")
    assert "No operation on it" not in block(people[Role.VIEWER], custody, "custody")
    assert "Add a user" not in people[Role.OPERATOR].get("/accounts", headers=PAGE).text
    assert "Add a user" in people[Role.ADMINISTRATOR].get("/accounts", headers=PAGE).text


def test_a_failed_operation_says_why_and_what_can_be_done(
    people: dict[Role, TestClient], deployment: DeploymentRow
) -> None:
    operation = f"/operations/{deployment.operation_id}"  # type: ignore[attr-defined]
    text = block(people[Role.OPERATOR], operation, "operation")
    assert "The VIM said no." in text
    assert "Ask it why." in text
    for action in ("retry", "rollback", "fail"):
        assert f'data-rest="POST /api/v1{operation}/{action}"' in text
    assert f"{operation}/cancel" not in text


def test_a_stack_that_does_not_answer_is_shown_kindly(
    people: dict[Role, TestClient], deployment: DeploymentRow
) -> None:
    viewer = people[Role.VIEWER]
    whole = viewer.get("/data-centres", headers=PAGE).text
    assert "asking…" in whole  # the page itself does not wait
    text = block(viewer, "/data-centres", "centres")
    assert text.count("not reachable") == 3
    assert "Check that its slave stack runs" in text
    path = f"/deployments/{deployment.deployment_id}"
    assert "Asking dc-1…" in viewer.get(path, headers=PAGE).text
    assert "dc-1 does not answer" in block(viewer, path, "instance")
    assert "dc-1 does not answer" in block(people[Role.OPERATOR], path, "console")
    assert "The console is for operators" in block(viewer, path, "console")
    plan = block(viewer, "/deploy?image=web&data_centre=dc-1", "plan")
    assert "dc-1 does not answer" in plan
    wrong = block(viewer, "/deploy?image=web&data_centre=dc-1&memory_mib=1", "plan")
    assert "These choices do not fit" in wrong


def test_a_link_to_what_is_gone_leads_to_a_kind_page(people: dict[Role, TestClient]) -> None:
    for path in (f"/deployments/{uuid4()}", f"/operations/{uuid4()}"):
        answer = people[Role.VIEWER].get(path, headers=PAGE)
        assert answer.status_code == 404
        assert "There is no such" in answer.text
        assert "What next?" in answer.text
    assert people[Role.VIEWER].get("/deployments/no-id", headers=PAGE).status_code == 422


def test_images_show_who_uses_them_and_refuse_to_go(
    people: dict[Role, TestClient], deployment: DeploymentRow
) -> None:
    operator = people[Role.OPERATOR]
    text = block(operator, "/images", "images")
    assert f'href="/deployments/{deployment.deployment_id}">&lt;b&gt;web&lt;/b&gt;</a>' in text
    refused = operator.delete(f"/api/v1/images/{DIGEST.hex()}")
    assert refused.status_code == 409
    assert refused.json()["deployments"] == 1


def test_an_upload_that_waits_for_its_rest_is_offered_to_its_owner(
    people: dict[Role, TestClient],
) -> None:
    operator = people[Role.OPERATOR]
    begun = operator.post("/api/v1/uploads", json={"name": "half", "size_bytes": 2_000_000}).json()
    piece = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    url = f"/api/v1/uploads/{begun['upload_id']}"
    assert operator.patch(url, content=bytes(500_000), headers=piece).status_code == 204
    assert "500 kB of 2.00 MB" in block(operator, "/images", "unfinished")
    assert "half" not in block(people[Role.ADMINISTRATOR], "/images", "unfinished")
    assert operator.delete(url).status_code == 204
    assert "half" not in block(operator, "/images", "unfinished")


def test_projects_are_chosen_and_their_things_shown_to_members_alone(
    room: AccountRoom, people: dict[Role, TestClient], deployment: DeploymentRow
) -> None:
    owner, operator, viewer = room.owner(), people[Role.OPERATOR], people[Role.VIEWER]
    choice = '<select name="project">'
    assert choice not in operator.get("/images", headers=PAGE).text
    assert owner.post("/api/v1/projects", json={"name": "edge"}).status_code == 201
    assert owner.put("/api/v1/projects/edge/members/a-operator").status_code == 200
    for page in ("/images", "/deploy"):
        assert choice in operator.get(page, headers=PAGE).text
    assert "default" in block(operator, "/images", "images")
    assert "edge" in block(operator, "/accounts", "projects")
    assert "/members/" not in block(operator, "/accounts", "projects")
    assert "/members/a-operator" in block(people[Role.ADMINISTRATOR], "/accounts", "projects")
    assert owner.delete("/api/v1/projects/default/members/a-viewer").status_code == 200
    assert "You are in no project" in block(viewer, "/accounts", "projects")
    assert DIGEST.hex()[:16] not in block(viewer, "/images", "images")
    path = f"/deployments/{deployment.deployment_id}"
    assert viewer.get(path, headers=PAGE).status_code == 404
    assert owner.put("/api/v1/projects/default/members/a-viewer").status_code == 200
    assert viewer.get(path, headers=PAGE).status_code == 200


def test_the_audit_is_filtered_paged_and_verified(
    room: AccountRoom, people: dict[Role, TestClient], deployment: DeploymentRow
) -> None:
    operator = people[Role.OPERATOR]
    log = AuditLog(room.engine, SystemClock())
    subjects = {"instance": "i-1", "key": str(uuid4()), "data_centre": "dc-9"}
    subjects["deployment"] = str(deployment.deployment_id)
    for number in range(120):
        log.append(
            Entry("orchestrator", "", "inside", "", "operation HEAL", "COMPLETED",
                  {**subjects, "try": str(number)})
        )  # fmt: skip
    first = operator.get("/audit?action=operation+HEAL", headers=PAGE).text
    assert first.count("operation HEAL</code>") == 50
    older = first.split('href="/audit?action=operation+HEAL&amp;before=')[1].split('"')[0]
    second = operator.get(f"/audit?action=operation+HEAL&before={older}", headers=PAGE).text
    assert second.count("operation HEAL</code>") == 50
    assert ">Newest</a>" in second
    custody = operator.get("/audit?subject=i-1", headers=PAGE).text
    assert subjects["key"][:13] in custody
    assert "dc-9" in custody
    later = SystemClock().now() + timedelta(days=1)
    none = operator.get(f"/audit?since={later:%Y-%m-%dT%H:%M}", headers=PAGE).text
    assert "No record fits" in none
    verdict = block(operator, "/audit", "verdict")
    assert "The chain is whole" in verdict
