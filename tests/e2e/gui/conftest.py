"""A real Chromium in front of the folder's one laboratory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from e2e_house import House
from gui_visitors import Visitors
from playwright.sync_api import Browser, expect, sync_playwright

PATIENCE_MS = 20_000
"""What comes with the slow tick comes within 5 s on an idle machine."""


@pytest.fixture(scope="module")
def browser(missing_part: Callable[[str, str], None]) -> Iterator[Browser]:
    """A module at a time: while Playwright runs, its thread can run no other event loop."""
    chromium = shutil.which("chromium")
    if chromium is None:
        missing_part("chromium", "install Debian's chromium")
    expect.set_options(timeout=PATIENCE_MS)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def visitors(house: House, browser: Browser) -> Iterator[Visitors]:
    """With the users `admin-of-gui`, `operator-of-gui` and `viewer-of-gui`."""
    made = Visitors(browser, house)
    made.is_made("admin-of-gui", "administrator")
    made.is_made("operator-of-gui", "operator")
    made.is_made("viewer-of-gui", "viewer")
    yield made
    made.leave()
