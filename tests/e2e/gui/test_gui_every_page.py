"""Every page of the menu, light and dark, wide and on a phone: nothing in the console, nothing cut
off, nothing serious for axe-core. With QNFV_SCREENSHOTS=FOLDER it keeps what it saw."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gui_visitors import Theme, Visitor, Visitors
from playwright.sync_api import expect

from orchestrator.gui.navigation import ENTRIES, Entry

LOOKS: dict[str, tuple[Theme, int]] = {
    "light": ("light", 1280),
    "dark": ("dark", 1280),
    "phone": ("light", 375),
}
# What else could be wrong does not change with theme and width.
RULES = {"dark": ("color-contrast",), "phone": ("scrollable-region-focusable", "target-size")}


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_fit_to_be_seen(visitors: Visitors, look: str) -> None:
    theme, width = LOOKS[look]
    with visitors.visitor("admin-of-gui", theme=theme, width=width) as admin:
        for entry in ENTRIES:
            sees(admin, entry, width)
            keep(admin, entry, look)
            findings = admin.accessibility_findings(*RULES.get(look, ()))
            assert findings == [], (entry.path, look, findings)


def sees(visitor: Visitor, entry: Entry, width: int) -> None:
    visitor.goes_to(entry.path)
    expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
    visitor.page.wait_for_load_state("load")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width, entry.path
    assert visitor.unexpected() == [], entry.path


def keep(visitor: Visitor, entry: Entry, look: str) -> None:
    folder = os.environ.get("QNFV_SCREENSHOTS")
    if not folder:
        return
    name = entry.path.strip("/").replace("/", "-") or "overview"
    visitor.page.wait_for_timeout(1000)  # what the page draws by itself
    visitor.page.screenshot(path=Path(folder) / f"{name}-{look}.png", full_page=False)


def test_signing_in_is_fit_to_be_seen(visitors: Visitors) -> None:
    for look, (theme, width) in LOOKS.items():
        with visitors.visitor(theme=theme, width=width) as somebody:
            somebody.goes_to("/sign-in")
            expect(somebody.page.get_by_role("heading", level=1)).to_have_text("Sign in")
            assert somebody.accessibility_findings(*RULES.get(look, ())) == []
