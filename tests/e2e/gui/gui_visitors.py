"""Visitors in front of a real Chromium, and what they must never see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from e2e_house import House
from playwright.sync_api import Browser, BrowserContext, Page

PASSWORD = "correct horse battery"
AXE = Path(__file__).parent / "axe" / "axe.min.js"
WIDTHS = {"desktop": 1280, "phone": 375}

Theme = Literal["light", "dark"]


@dataclass
class Visitor:
    """One person's browser window. `faults` are what the console, the page or the net said."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    tolerated: list[str] = field(default_factory=list)

    def goes_to(self, path: str) -> None:
        self.page.goto(self.url + path)

    def signs_in(self, name: str, password: str = PASSWORD) -> None:
        self.page.get_by_label("User").fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    def tolerates(self, pattern: str) -> None:
        """What a test provokes itself may be in the console."""
        self.tolerated.append(pattern)

    def path(self) -> str:
        return self.page.url.removeprefix(self.url)

    def accessibility_findings(self, *rules: str) -> list[str]:
        """What axe-core calls serious or critical on the page; by `rules` alone, if any."""
        self.page.evaluate(AXE.read_text())
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = {"type": "rule", "values": list(rules)}
        found: dict[str, Any] = self.page.evaluate(
            "(options) => axe.run(document, options)", options
        )
        return [
            f"{violation['id']}: {violation['help']}: "
            + "; ".join(f"{n['target']} {n['failureSummary']}" for n in violation["nodes"][:3])
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
        ]

    def unexpected(self) -> list[str]:
        return [
            fault
            for fault in self.faults
            if not any(re.search(pattern, fault) for pattern in self.tolerated)
        ]


class Visitors:
    """Opens browser windows, signed in or not; whatever went wrong in one fails the test."""

    def __init__(self, browser: Browser, house: House) -> None:
        self._browser = browser
        self._house = house
        self.url = house.lab.layout.rest_url
        self._made: list[str] = []

    @contextmanager
    def visitor(
        self,
        name: str | None = None,
        *,
        theme: Theme = "light",
        width: int = 1280,
        url: str | None = None,
    ) -> Iterator[Visitor]:
        """A window; of the user `name`, if one is given. `url`: where it is not the usual way."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
        )
        context.set_default_timeout(20_000)
        try:
            if name is not None:
                self._signed_in(context, name, url or self.url)
            visitor = Visitor(context.new_page(), url or self.url)
            _listen(visitor)
            yield visitor
            assert not visitor.unexpected(), "\n".join(visitor.unexpected())
        finally:
            context.close()

    def _signed_in(self, context: BrowserContext, name: str, url: str) -> None:
        answer = context.request.post(
            f"{url}/api/v1/session", data={"user": name, "password": PASSWORD}
        )
        assert answer.status == 201, answer.text()

    def is_made(self, name: str, role: str, *, must_change_password: bool = False) -> str:
        """A new user; returns the name."""
        document = {
            "name": name,
            "role": role,
            "password": PASSWORD,
            "must_change_password": must_change_password,
        }
        self._house.client.post("/api/v1/users", document)
        self._made.append(name)
        return name

    def leave(self) -> None:
        """Nothing of them is left in the house."""
        for name in self._made:
            self._house.client.delete(f"/api/v1/users/{name}")


def _listen(visitor: Visitor) -> None:
    def console(message: Any) -> None:
        # Of a page that is left, htmx says that what it asked for was dropped.
        is_dropped = message.text.startswith(("htmx:afterRequest", "htmx:sendAbort"))
        if message.type in ("error", "warning") and not is_dropped:
            visitor.faults.append(f"console {message.type}: {message.text} at {message.location}")

    def failed(request: Any) -> None:
        # A page that is left drops what it asked for.
        if request.failure != "net::ERR_ABORTED":
            visitor.faults.append(f"request failed: {request.url}: {request.failure}")

    visitor.page.on("console", console)
    visitor.page.on("pageerror", lambda error: visitor.faults.append(f"page error: {error}"))
    visitor.page.on("requestfailed", failed)
