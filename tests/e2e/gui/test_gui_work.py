"""What people do on the pages, from the upload of an image to the removal of its instance."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cuttable_line import CuttableLine
from e2e_house import House, docker_archive
from gui_visitors import Visitor, Visitors
from playwright.sync_api import Locator, Page, expect
from test_held_deployments import no_room_for_instances

IMAGE_BYTES = 6_000_000
OPERATOR, ADMINISTRATOR = "operator-of-gui", "admin-of-gui"
STEPS = ("key", "circuit", "announce", "stream", "place", "notify", "boot", "acknowledge")
REFUSED = r"status of (404|409|422)"
BROKEN = rf"ERR_(EMPTY_RESPONSE|CONNECTION_|SOCKET_)|{REFUSED}"
"""Also a 409, where bytes of the broken connection still came after the question how far it is."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    payload = hashlib.shake_256(b"gui").digest(IMAGE_BYTES)
    return docker_archive(tmp_path_factory.mktemp("gui") / "firewall.tar", payload)


@pytest.fixture
def line(visitors: Visitors) -> Iterator[CuttableLine]:
    with CuttableLine(int(visitors.url.rsplit(":", 1)[1])).running() as line:
        yield line


@pytest.fixture
def operator(visitors: Visitors) -> Iterator[Visitor]:
    with visitors.visitor(OPERATOR) as operator:
        yield operator


def confirm(page: Page) -> None:
    page.get_by_role("button", name="Yes, do it").click()


def row_of(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))


def begin_upload(page: Page, file: Path, name: str) -> None:
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Upload", exact=True).click()


def test_an_upload_goes_on_after_its_connection_broke(
    house: House, visitors: Visitors, line: CuttableLine, archive: Path
) -> None:
    with visitors.visitor(OPERATOR, url=line.url) as operator:
        operator.tolerates(BROKEN)
        page = operator.page
        operator.goes_to("/images")
        line.strike("cut", IMAGE_BYTES // 2)
        begin_upload(page, archive, "firewall")
        expect(row_of(page, "firewall")).to_contain_text("nobody")
        assert line.struck.is_set()
        expect(page.locator("#toasts")).to_contain_text("firewall is in the catalogue")
        image = house.get("/api/v1/images/firewall")
        assert image["size_bytes"] > IMAGE_BYTES
        expect(row_of(page, "firewall")).to_contain_text(image["digest"][:16])


def test_an_upload_goes_on_after_a_reload_with_the_same_file_alone(
    house: House, visitors: Visitors, line: CuttableLine, tmp_path: Path
) -> None:
    payload = hashlib.shake_256(b"again").digest(IMAGE_BYTES)
    file = docker_archive(tmp_path / "again.tar", payload)
    other = docker_archive(tmp_path / "other.tar", payload[::-1])
    assert file.stat().st_size == other.stat().st_size
    with visitors.visitor(OPERATOR, url=line.url) as operator:
        operator.tolerates(BROKEN)
        page = operator.page
        operator.goes_to("/images")
        line.strike("stall", IMAGE_BYTES // 2)
        begin_upload(page, file, "again")
        assert line.struck.wait(20)
        page.reload()
        waiting = page.locator(".unfinished")
        expect(waiting).to_contain_text("again")
        waiting.locator("input[type=file]").set_input_files(other)
        expect(page.get_by_role("alert")).to_contain_text("This is another file")
        waiting.locator("input[type=file]").set_input_files(file)
        expect(row_of(page, "again")).to_be_visible()
        expect(waiting).to_have_count(0)
        digest = house.get("/api/v1/images/again")["digest"]
        row_of(page, "again").get_by_role("button", name="Delete again").click()
        confirm(page)
        expect(row_of(page, "again")).to_have_count(0)
        assert digest not in {image["digest"] for image in house.get("/api/v1/images")}


def test_what_is_no_image_is_refused_with_the_reason(operator: Visitor, tmp_path: Path) -> None:
    operator.tolerates(REFUSED)
    page = operator.page
    operator.goes_to("/images")
    file = tmp_path / "letter.txt"
    file.write_text("Dear all")
    begin_upload(page, file, "letter")
    expect(page.get_by_role("alert")).to_contain_text("neither a docker-save archive nor a disk")
    expect(page.get_by_role("button", name="Upload", exact=True)).to_be_enabled()


def test_from_the_plan_to_the_running_instance_and_its_removal(
    house: House, operator: Visitor
) -> None:
    operator.tolerates(REFUSED)
    page = operator.page
    operator.goes_to("/images")
    row_of(page, "firewall").get_by_role("link", name="Deploy").click()
    before = len(house.get("/api/v1/deployments"))
    plan = page.locator("#plan")
    expect(plan).to_contain_text("Choose an image and a data centre")
    page.get_by_label("Data centre").select_option("dc-2")
    expect(plan).to_contain_text("15.0 km")
    expect(plan).to_contain_text("emulated")
    page.get_by_label("One-time pad").check()
    expect(plan).to_contain_text("too large for a one-time pad")
    page.get_by_label("AES-256-GCM").check()
    expect(plan).to_contain_text("15.0 km")
    page.get_by_label("Name of the instance").fill("firewall-1")
    assert len(house.get("/api/v1/deployments")) == before  # nothing is done yet
    page.locator("#main").get_by_role("button", name="Deploy").dblclick()
    page.wait_for_url("**/operations/*")
    expect(page.locator("#operation-state")).to_have_text("completed", timeout=60_000)
    for step in STEPS:
        expect(page.locator(f"#step-{step}")).to_contain_text("done")
    expect(page.locator("#stream-progress")).to_contain_text("/s")
    assert operator.accessibility_findings() == []
    named = [d for d in house.get("/api/v1/deployments") if d["name"] == "firewall-1"]
    assert len(named) == 1
    assert_its_id_makes_no_other(house, operator, named[0])

    operator.goes_to(f"/deployments/{named[0]['deployment_id']}")
    expect(page.locator("#instance")).to_contain_text("running")
    expect(page.locator("#instance")).to_contain_text("healthy")
    page.get_by_role("button", name="Show the last lines").click()
    expect(page.locator("#console pre")).to_contain_text("this instance executes nothing")
    operation = house.get(f"/api/v1/operations/{named[0]['operation_id']}")
    key_id = next(s for s in operation["steps"] if s["name"] == "key")["detail"]["key_id"]
    expect(page.locator("#custody")).to_contain_text(key_id[:13])
    assert operator.accessibility_findings() == []

    operator.goes_to("/images")
    page.get_by_role("button", name="Delete firewall").click()
    confirm(page)
    expect(page.locator("#toasts")).to_contain_text("is used by 1 deployment")
    expect(row_of(page, "firewall").get_by_role("link", name="firewall-1")).to_be_visible()
    for button in ("Stop", "Remove"):
        operator.goes_to(f"/deployments/{named[0]['deployment_id']}")
        page.get_by_role("button", name=button).click()
        confirm(page)
        page.wait_for_url("**/operations/*")
        expect(page.locator("#operation-state")).to_have_text("completed")
        if button == "Stop":
            page.get_by_role("link", name="firewall-1").click()
            expect(page.locator("#instance")).to_contain_text("stopped")
            expect(page.get_by_role("button", name="Start")).to_be_visible()
    operator.goes_to("/deployments")
    expect(row_of(page, "firewall-1")).to_have_count(0)
    page.get_by_role("link", name=re.compile("removed too")).click()
    expect(row_of(page, "firewall-1")).to_contain_text("removed")


def assert_its_id_makes_no_other(
    house: House, operator: Visitor, deployment: dict[str, Any]
) -> None:
    """The same request again answers what is there; another one under its id is refused."""
    again = {"name": deployment["name"], "deployment_id": deployment["deployment_id"]}
    answer = house.deploy("firewall", deployment["data_centre"], **again)
    assert answer["operation_id"] == deployment["operation_id"]
    page = operator.page
    operator.goes_to("/deploy?image=firewall&data_centre=dc-3")
    expect(page.locator("#plan")).to_contain_text("25.0 km")
    page.locator("[name=deployment_id]").evaluate(
        "(field, id) => { field.value = id; }", deployment["deployment_id"]
    )
    page.locator("#main").get_by_role("button", name="Deploy").click()
    expect(page.get_by_role("alert")).to_contain_text("is the id of another deployment")


def test_a_failure_is_held_explained_and_rolled_back(house: House, operator: Visitor) -> None:
    page = operator.page
    operator.goes_to("/deploy?image=firewall&data_centre=dc-3")
    page.get_by_label("If a step fails").select_option("hold")
    expect(page.locator("#plan")).to_contain_text("25.0 km")
    with no_room_for_instances(house, "dc-3"):
        page.locator("#main").get_by_role("button", name="Deploy").click()
        page.wait_for_url("**/operations/*")
        expect(page.locator("#operation-state")).to_have_text("failed temp", timeout=60_000)
    expect(page.locator("#step-boot .problem")).to_contain_text("dc-3")
    expect(page.locator("#operation")).to_contain_text("the image in the VIM")
    for button in ("Retry", "Roll back", "Give up"):
        expect(page.get_by_role("button", name=button)).to_be_visible()
    assert operator.accessibility_findings() == []
    page.get_by_role("button", name="Roll back").click()
    confirm(page)
    expect(page.locator("#operation-state")).to_have_text("rolled back")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)


def test_a_held_failure_is_tried_again_and_a_lost_instance_healed(
    house: House, operator: Visitor
) -> None:
    page = operator.page
    with no_room_for_instances(house, "dc-3"):
        deployment = house.deploy("firewall", "dc-3", name="firewall-3", on_failure="hold")
        operator.goes_to(f"/operations/{deployment['operation_id']}")
        expect(page.locator("#operation-state")).to_have_text("failed temp", timeout=60_000)
    page.get_by_role("button", name="Retry").click()
    confirm(page)
    expect(page.locator("#operation-state")).to_have_text("completed")
    vim = house.lab.layout.folder / "dc-3" / "vim"
    (vim / "instances" / f"{deployment['deployment_id']}.json").unlink()
    operator.goes_to(f"/deployments/{deployment['deployment_id']}")
    expect(page.locator("#deployment")).to_contain_text("the VIM has no such instance")
    page.get_by_role("button", name="Heal").click()
    confirm(page)
    page.wait_for_url("**/operations/*")
    expect(page.locator("#operation-state")).to_have_text("completed")
    page.get_by_role("link", name="firewall-3").click()
    expect(page.locator("#instance")).to_contain_text("running")
    expect(page.locator("#deployment")).not_to_contain_text("drift")
    house.remove(deployment)


def test_a_data_centre_that_is_away_is_told_and_comes_back_by_itself(
    house: House, operator: Visitor
) -> None:
    operator.goes_to("/data-centres")
    centre = operator.page.locator("[data-centre='dc-3']")
    expect(centre).to_contain_text("emulated 1")
    stack = house.lab.processes["dc-3"]
    stack.kill()
    stack.await_end()
    try:
        # What the page does by itself every few seconds.
        operator.page.evaluate("htmx.trigger(document.body, 'live-tick')")
        expect(centre).to_contain_text("not reachable")
        expect(centre).to_contain_text("it answered last")
        others = operator.page.locator("[data-centre='dc-1']")
        expect(others).not_to_contain_text("not reachable")
    finally:
        house.lab.restart("dc-3")
    expect(centre).to_contain_text("emulated 1")
    expect(centre).not_to_contain_text("not reachable")


def secret_of(page: Page) -> str:
    """What is shown once."""
    shown = page.locator("[data-secret-text]")
    expect(shown).not_to_be_empty()
    secret = shown.inner_text()
    page.get_by_role("button", name="I have it").click()
    expect(shown).to_be_empty()
    assert secret not in page.content()
    return secret


def test_a_new_user_gets_a_password_for_one_use_and_a_project(visitors: Visitors) -> None:
    with visitors.visitor(ADMINISTRATOR) as boss, visitors.visitor() as newcomer:
        page = boss.page
        boss.goes_to("/accounts")
        page.get_by_label("Name", exact=True).first.fill("guest")
        page.get_by_role("button", name="Add the user").click()
        password = secret_of(page)
        expect(row_of(page, "guest")).to_contain_text("must be changed")
        page.get_by_label("Name of the project").fill("edge-of-gui")
        page.get_by_role("button", name="Add the project").click()
        page.get_by_label("User to add to edge-of-gui").select_option("guest")
        row_of(page, "edge-of-gui").get_by_role("button", name="Add").click()
        expect(page.get_by_role("button", name="Take guest out of edge-of-gui")).to_be_visible()
        newcomer.goes_to("/sign-in")
        newcomer.signs_in("guest", password)
        newcomer.page.wait_for_url("**/password*")
        page.get_by_role("button", name="Delete guest").click()
        confirm(page)
        expect(row_of(page, "guest")).to_have_count(0)
        page.get_by_role("button", name="Delete edge-of-gui").click()
        confirm(page)
        expect(row_of(page, "edge-of-gui")).to_have_count(0)


def test_a_token_is_shown_once_and_opens_until_it_is_revoked(operator: Visitor) -> None:
    page = operator.page
    operator.goes_to("/accounts")
    expect(page.get_by_role("heading", name="Users")).to_have_count(0)
    page.get_by_label("Name", exact=True).fill("ci")
    page.get_by_role("button", name="Make").click()
    bearer = {"Authorization": f"Bearer {secret_of(page)}"}
    me = f"{operator.url}/api/v1/me"
    assert httpx.get(me, headers=bearer).json()["name"] == OPERATOR
    page.get_by_role("button", name="Revoke ci").click()
    confirm(page)
    expect(page.locator("#tokens")).to_contain_text("No token yet")
    assert httpx.get(me, headers=bearer).status_code == 401


def test_the_audit_is_searched_and_its_chain_verified(operator: Visitor) -> None:
    page = operator.page
    operator.goes_to("/audit")
    page.get_by_role("button", name="Verify the chain").click()
    expect(page.locator("#verdict")).to_contain_text("The chain is whole")
    expect(page.locator("#verdict")).to_contain_text("dc-1")
    page.get_by_label("Action begins with").fill("operation ")
    page.get_by_role("button", name="Look").click()
    page.wait_for_url("**/audit?*")
    actions = page.locator("tbody code").filter(has_text="operation ")
    expect(actions.first).to_be_visible()
    assert page.locator("tbody tr").count() == actions.count()


def test_a_link_to_what_is_gone_is_kind(operator: Visitor) -> None:
    operator.tolerates(REFUSED)
    operator.goes_to(f"/deployments/{uuid4()}")
    expect(operator.page.get_by_role("heading", level=1)).to_have_text(
        "There is no such deployment"
    )
    operator.page.get_by_role("link", name="To the overview").click()
    expect(operator.page.get_by_role("heading", level=1)).to_have_text("Overview")
