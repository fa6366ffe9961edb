"""VNF packages on the page: from the file to the instance of it, and what is wrong told kindly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from csar_builder import Csar, disk
from cuttable_line import CuttableLine
from e2e_house import House
from gui_visitors import Visitor, Visitors
from playwright.sync_api import Locator, Page, expect

IMAGE_BYTES = 6_000_000
OPERATOR = "operator-of-gui"
PACKAGES = "/vnfpkgm/v1/vnf_packages"
REFUSED = r"status of (404|409|422)"
BROKEN = rf"ERR_(EMPTY_RESPONSE|CONNECTION_|SOCKET_)|{REFUSED}"


@pytest.fixture
def line(visitors: Visitors) -> Iterator[CuttableLine]:
    with CuttableLine(int(visitors.url.rsplit(":", 1)[1])).running() as line:
        yield line


@pytest.fixture
def operator(visitors: Visitors) -> Iterator[Visitor]:
    with visitors.visitor(OPERATOR) as operator:
        operator.goes_to("/images")
        yield operator


@pytest.fixture(autouse=True)
def tidied(house: House, visitors: Visitors) -> Iterator[None]:
    """No package is left, whatever a test did."""
    yield
    for package in house.get(PACKAGES):
        path = f"{PACKAGES}/{package['id']}"
        if not house.get(path).get("userDefinedData"):
            continue  # an image of the catalogue
        if package["operationalState"] == "ENABLED":
            house.client._request("PATCH", path, json={"operationalState": "DISABLED"})
        house.client.delete(path)


def written(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def begin(page: Page, file: Path) -> None:
    expect(page.get_by_label("Package file")).to_be_enabled()
    page.get_by_label("Package file").set_input_files(file)
    page.get_by_role("button", name="Upload package").click()


def packages(page: Page) -> Locator:
    return page.locator("#packages tr[data-package]")


def confirm(page: Page) -> None:
    page.get_by_role("button", name="Yes, do it").click()


def refused(page: Page, why: str) -> None:
    toast = page.locator("#toasts .toast-bad")
    expect(toast).to_contain_text(why)
    toast.get_by_role("button", name="Close").click()
    expect(toast).to_have_count(0)


def delete(page: Page, title: str) -> None:
    page.get_by_role("button", name=f"Delete the package {title}").click()
    confirm(page)


def test_a_package_is_sent_used_disabled_and_deleted(
    house: House, visitors: Visitors, line: CuttableLine, tmp_path: Path
) -> None:
    made = Csar(image=disk(IMAGE_BYTES))
    file = written(tmp_path, "router.csar", made.packed())
    with visitors.visitor(OPERATOR, url=line.url) as operator:
        operator.tolerates(BROKEN)
        page = operator.page
        operator.goes_to("/images")
        line.strike("cut", IMAGE_BYTES // 2)
        begin(page, file)
        row = packages(page)
        expect(row).to_contain_text("onboarded")
        assert line.struck.is_set()
        expect(page.locator("#toasts")).to_contain_text("Router 2.1 is onboarded")
        for said in ("Router 2.1", "Acme", "enabled", "nobody"):
            expect(row).to_contain_text(said)
        expect(page.locator("#images")).to_contain_text("Router-2.1")
        expect(page.get_by_label("Package file")).to_be_enabled()

        delete(page, "Router 2.1")
        refused(page, "Disable it first")
        instance = house.client.post(
            "/vnflcm/v1/vnf_instances", {"vnfdId": made.vnfd_id, "vnfInstanceName": "edge-router"}
        )
        expect(row).to_contain_text("edge-router (not instantiated)")
        page.get_by_role("button", name="Disable Router 2.1").click()
        expect(row).to_contain_text("disabled")
        delete(page, "Router 2.1")
        refused(page, "of it: edge-router")
        house.client.delete(f"/vnflcm/v1/vnf_instances/{instance['id']}")
        expect(row).to_contain_text("nobody")
        page.get_by_role("button", name="Enable Router 2.1").click()
        expect(row).to_contain_text("enabled")
        page.get_by_role("button", name="Disable Router 2.1").click()
        expect(row).to_contain_text("disabled")
        delete(page, "Router 2.1")
        expect(row).to_have_count(0)
        expect(page.locator("#packages")).to_contain_text("No VNF package yet")
        expect(page.locator("#images")).not_to_contain_text("Router-2.1")


def test_an_upload_goes_on_after_a_reload(
    visitors: Visitors, line: CuttableLine, tmp_path: Path
) -> None:
    file = written(tmp_path, "big.zip", Csar(image=disk(IMAGE_BYTES)).packed())
    with visitors.visitor(OPERATOR, url=line.url) as operator:
        operator.tolerates(BROKEN)
        page = operator.page
        operator.goes_to("/images")
        line.strike("stall", IMAGE_BYTES // 2)
        begin(page, file)
        assert line.struck.wait(20)
        page.reload()
        expect(packages(page)).to_contain_text("uploading")
        waiting = page.locator(".unfinished")
        expect(waiting).to_contain_text("VNF package")
        waiting.locator("input[type=file]").set_input_files(file)
        expect(packages(page)).to_contain_text("onboarded")
        expect(waiting).to_have_count(0)
        page.get_by_role("button", name="Disable Router 2.1").click()
        expect(packages(page)).to_contain_text("disabled")
        delete(page, "Router 2.1")
        expect(packages(page)).to_have_count(0)


def test_a_wrong_package_is_told_kindly_and_can_be_corrected(
    operator: Visitor, tmp_path: Path
) -> None:
    page = operator.page
    begin(page, written(tmp_path, "no-flavour.csar", Csar(flavour="").packed()))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("flavour_id")
    expect(alert).to_contain_text("Correct the package, then upload it again.")
    row = packages(page)
    expect(row).to_contain_text("no-flavour")
    expect(row).to_contain_text("flavour_id")
    assert operator.accessibility_findings() == []
    row.get_by_label("Choose a file for no-flavour").set_input_files(
        written(tmp_path, "corrected.csar", Csar().packed())
    )
    expect(row).to_contain_text("onboarded")
    expect(row).not_to_contain_text("flavour_id")
    expect(alert).to_have_count(0)
    page.get_by_role("button", name="Disable Router 2.1").click()
    expect(row).to_contain_text("disabled")
    delete(page, "Router 2.1")
    expect(row).to_have_count(0)


def test_what_is_neither_and_what_is_given_up(operator: Visitor, tmp_path: Path) -> None:
    operator.tolerates(REFUSED)
    page = operator.page
    begin(page, written(tmp_path, "letter.zip", b"Dear all"))
    expect(page.get_by_role("alert")).to_contain_text("neither a docker-save archive nor a disk")
    expect(packages(page)).to_contain_text("letter")
    delete(page, "letter")
    expect(packages(page)).to_have_count(0)
    begin(page, written(tmp_path, "empty.zip", b""))
    expect(page.get_by_role("alert")).to_contain_text("The file is empty")


def test_packages_are_fit_to_be_seen(visitors: Visitors, operator: Visitor, tmp_path: Path) -> None:
    begin(operator.page, written(tmp_path, "good.csar", Csar().packed()))
    expect(packages(operator.page)).to_contain_text("onboarded")
    begin(operator.page, written(tmp_path, "bad.csar", Csar(flavour="").packed()))
    expect(packages(operator.page)).to_have_count(2)
    for theme, width in (("light", 1280), ("dark", 1280), ("light", 375)):
        with visitors.visitor(OPERATOR, theme=theme, width=width) as seen:
            seen.goes_to("/images")
            expect(packages(seen.page).first).to_contain_text("flavour_id")
            overflow = seen.page.evaluate("document.documentElement.scrollWidth")
            assert overflow <= width
            assert seen.accessibility_findings() == []
    with visitors.visitor("viewer-of-gui") as viewer:
        viewer.goes_to("/images")
        expect(packages(viewer.page)).to_have_count(2)
        expect(viewer.page.locator("#packages button, #packages input")).to_have_count(0)
        expect(viewer.page.get_by_label("Package file")).to_have_count(0)
    by_keyboard(operator.page)


def by_keyboard(page: Page) -> None:
    """Disable a package without a mouse."""
    button = page.get_by_role("button", name="Disable Router 2.1")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Enable Router 2.1")).to_be_visible()
