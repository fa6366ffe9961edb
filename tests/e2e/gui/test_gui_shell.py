"""Signing in and out, sessions that end, what is not there, roles, themes, restarts."""

from __future__ import annotations

import re

import pytest
from e2e_house import House
from gui_visitors import PASSWORD, Visitors
from playwright.sync_api import expect

STATUS = "Failed to load resource: the server responded with a status of {}"


def test_signing_in_leads_to_the_page_that_was_asked_for_and_out_again(visitors: Visitors) -> None:
    with visitors.visitor() as ann:
        ann.goes_to("/schedule?hours=1")
        assert ann.path() == "/sign-in?next=/schedule%3Fhours%3D1"
        ann.tolerates(STATUS.format(401))
        ann.signs_in("operator-of-gui", "wrong " + PASSWORD)
        expect(ann.page.get_by_role("alert")).to_contain_text("do not belong together")
        assert ann.path().startswith("/sign-in")
        ann.signs_in("operator-of-gui")
        ann.page.wait_for_url("**/schedule?hours=1")
        expect(ann.page.get_by_role("heading", level=1)).to_have_text("Schedule")
        ann.page.get_by_role("button", name="Sign out").click()
        ann.page.wait_for_url("**/sign-in")
        ann.goes_to("/keys")
        assert ann.path() == "/sign-in?next=/keys"


@pytest.mark.parametrize("wish", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
def test_nobody_is_led_to_another_site(visitors: Visitors, wish: str) -> None:
    with visitors.visitor() as ann:
        ann.goes_to(f"/sign-in?next={wish}")
        ann.signs_in("viewer-of-gui")
        ann.page.wait_for_url(visitors.url + "/")


def test_who_has_a_password_of_others_sets_his_own_first(visitors: Visitors) -> None:
    visitors.is_made("newcomer-of-gui", "viewer", must_change_password=True)
    with visitors.visitor() as new:
        new.goes_to("/keys")
        new.signs_in("newcomer-of-gui")
        new.page.wait_for_url("**/password?next=/keys")
        new.page.get_by_label("Present password").fill(PASSWORD)
        new.page.get_by_label("New password").fill("a sentence of one's own")
        new.page.get_by_role("button", name="Set the new password").click()
        new.page.wait_for_url("**/keys")
        expect(new.page.get_by_role("heading", level=1)).to_have_text("Keys")


def test_a_session_that_ends_in_the_middle_leads_to_sign_in_and_back(
    visitors: Visitors, house: House
) -> None:
    visitors.is_made("leaving-of-gui", "viewer")
    with visitors.visitor("leaving-of-gui") as leaving:
        leaving.tolerates(STATUS.format(401))
        leaving.goes_to("/keys?hours=1")
        expect(leaving.page.get_by_role("heading", level=1)).to_have_text("Keys")
        house.client.put_only(
            "/api/v1/users/leaving-of-gui/password",
            {"password": PASSWORD, "must_change_password": False},
        )
        leaving.page.wait_for_url(re.compile(r"/sign-in\?next=(/|%2F)keys%3Fhours%3D1$"))
        leaving.signs_in("leaving-of-gui")
        leaving.page.wait_for_url("**/keys?hours=1")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/nothing/of/the/kind", 404, "There is no such page"),
        ("/api/v1/deployments/00000000-0000-0000-0000-000000000000", 404, "no such deployment"),
        ("/schedule?hours=7", 422, "not valid"),
        ("/api/v1/users", 403, "Access refused"),
    ],
)
def test_what_is_not_there_is_said_kindly(
    visitors: Visitors, path: str, status: int, words: str
) -> None:
    with visitors.visitor("operator-of-gui") as ann:
        ann.tolerates(STATUS.format(status))
        answer = ann.page.goto(visitors.url + path)
        assert answer is not None
        assert answer.status == status
        expect(ann.page.get_by_role("heading", level=1)).to_contain_text(re.compile(words))
        expect(ann.page.get_by_role("link", name="To the overview")).to_be_visible()
        expect(ann.page.get_by_role("navigation", name="Pages")).to_be_visible()


def test_who_may_not_press_a_button_does_not_see_it_and_is_refused(visitors: Visitors) -> None:
    with visitors.visitor("viewer-of-gui") as viewer:
        viewer.goes_to("/schedule")
        expect(viewer.page.get_by_role("rowheader").first).to_be_visible()
        expect(viewer.page.get_by_role("button", name="Serve next")).to_have_count(0)
        expect(viewer.page.get_by_role("link", name="Audit")).to_have_count(0)
        viewer.tolerates(STATUS.format(403))
        refused = viewer.page.evaluate(
            "qnfv.ask('PUT', '/api/v1/schedule/bobs/alice--bob-1/pin', {kind: 'next'})"
        )
        assert refused["problem"]["status"] == 403
    with visitors.visitor("operator-of-gui") as operator:
        operator.goes_to("/schedule")
        expect(operator.page.get_by_role("button", name="Serve next").first).to_be_visible()


def test_a_theme_is_kept_and_the_keyboard_reaches_the_content(visitors: Visitors) -> None:
    with visitors.visitor("viewer-of-gui") as viewer:
        viewer.goes_to("/schedule")
        ground = "getComputedStyle(document.body).backgroundColor"
        light = viewer.page.evaluate(ground)
        toggle = viewer.page.get_by_role("button", name="Theme: system")
        toggle.click()
        viewer.page.get_by_role("button", name="Theme: light").click()
        assert viewer.page.evaluate(ground) != light
        viewer.page.reload()
        assert viewer.page.evaluate(ground) != light
        viewer.page.keyboard.press("Tab")
        expect(viewer.page.get_by_role("link", name="Skip to content")).to_be_focused()
        viewer.page.keyboard.press("Enter")
        expect(viewer.page.get_by_role("main")).to_be_focused()


def test_the_menu_opens_on_a_phone(visitors: Visitors) -> None:
    with visitors.visitor("viewer-of-gui", width=375) as viewer:
        viewer.goes_to("/")
        pages = viewer.page.get_by_role("navigation", name="Pages")
        expect(pages).to_be_hidden()
        viewer.page.get_by_role("button", name="Menu").click()
        pages.get_by_role("link", name="Schedule").click()
        viewer.page.wait_for_url("**/schedule")


def test_an_open_page_outlives_a_restart_of_the_orchestrator(
    visitors: Visitors, house: House
) -> None:
    link = house.pool("dc-1")["link"]
    with visitors.visitor("viewer-of-gui") as viewer:
        viewer.tolerates("net::ERR_|htmx:(sendError|afterRequest)")  # while nobody answers
        viewer.goes_to("/schedule")
        row = viewer.page.get_by_role("row").filter(has_text=link).first
        expect(row).not_to_contain_text("excluded")
        orchestrator = house.lab.processes["orchestrator"]
        orchestrator.kill()
        orchestrator.await_end()
        lost = viewer.page.get_by_text("Connection lost")
        expect(lost).to_be_visible()
        orchestrator.start()
        orchestrator.wait_ready(30)
        expect(lost).to_be_hidden()
        house.client.put(f"/api/v1/schedule/bobs/{link}/exclude", {"why": "restarted"})
        expect(row).to_contain_text("restarted")
        house.client.delete(f"/api/v1/schedule/bobs/{link}/exclude")
