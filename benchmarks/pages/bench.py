"""A laboratory, a real Chromium, each page of the menu: as on a first visit, and as on the next.

A first visit finds an empty cache. Beside them stands a page of one sentence that the browser has
in memory already, so that its own time shows. The laboratory's start and memory are told as well.
"""

from __future__ import annotations

import os
import secrets
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psutil
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from rich.table import Table

from emulators.lab.lab import Lab, LabOptions
from orchestrator.cli.client import OrchestratorClient
from orchestrator.gui.navigation import ENTRIES

_USER: Final = "bench"
_NOTHING: Final = "data:text/html,<title>nothing</title><p>One sentence."
_LOOK: Final = """async () => {
  const paint = await new Promise((found) => new PerformanceObserver((list) => {
    const entry = list.getEntriesByName("first-contentful-paint")[0];
    if (entry) found(entry);
  }).observe({type: "paint", buffered: true}));
  const all = [...performance.getEntriesByType("navigation"),
               ...performance.getEntriesByType("resource")];
  const sent = all.reduce((sum, each) => sum + each.transferSize, 0);
  return {paint_ms: paint.startTime, requests: all.length, sent_bytes: sent};
}"""


def run(*, quick: bool = False) -> dict[str, Any]:
    """By page and visit: milliseconds to the first contentful paint, requests, bytes sent."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("This bench needs Debian's chromium.")
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder) / "lab", LabOptions(time_scale=1000.0))
        began_s = time.monotonic()
        lab.up()
        start_s = time.monotonic() - began_s
        try:
            memory_bytes = _memory_bytes(lab)
            with sync_playwright() as playwright:
                arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
                browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
                pages = _visit(browser, lab, rounds=2 if quick else 7)
                browser.close()
        finally:
            lab.down()
    return {"lab_start_s": start_s, "lab_memory_bytes": memory_bytes, "pages": pages}


def _memory_bytes(lab: Lab) -> dict[str, int]:
    """Of each process of the laboratory, with its children: what it has to itself (USS)."""
    memory = {}
    for name, process in lab.processes.items():
        if (pid := process.pid) is not None:
            parent = psutil.Process(pid)
            family = [parent, *parent.children(recursive=True)]
            memory[name] = sum(each.memory_full_info().uss for each in family)
    return memory


def _visit(browser: Browser, lab: Lab, *, rounds: int) -> dict[str, list[dict[str, Any]]]:
    url, password = lab.layout.rest_url, secrets.token_urlsafe()
    client = OrchestratorClient(url, lab.layout.token_file.read_text().strip())
    user = {"name": _USER, "role": "administrator", "password": password}
    client.post("/api/v1/users", {**user, "must_change_password": False})
    places = {"(nothing)": _NOTHING, **{entry.path: url + entry.path for entry in ENTRIES}}
    found: dict[str, list[dict[str, Any]]] = {place: [] for place in places}
    for _ in range(rounds):
        for place, address in places.items():
            context = browser.new_context()
            context.request.post(
                f"{url}/api/v1/session", data={"user": _USER, "password": password}
            )
            first, again = _look(context, address), _look(context, address)
            found[place].append({"first": first, "again": again})
            context.close()
    return found


def _look(context: BrowserContext, address: str) -> dict[str, Any]:
    page = context.new_page()
    page.goto(address, wait_until="load")
    seen: dict[str, Any] = page.evaluate(_LOOK)
    page.close()
    return seen


def table(report: dict[str, Any]) -> Table:
    """Medians of the rounds."""
    memory = report["lab_memory_bytes"]
    grid = Table(
        title="Pages in Chromium",
        caption=f"The laboratory was ready after {report['lab_start_s']:.1f} s and has "
        f"{sum(memory.values()) / 1e6:.0f} MB in {len(memory)} processes, the orchestrator "
        f"{memory['orchestrator'] / 1e6:.0f} MB.",
    )
    for column in (
        "page",
        "first paint ms",
        "again ms",
        "to nothing",
        "requests",
        "kB",
        "again kB",
    ):
        grid.add_column(column)

    def middle(place: str, visit: str, what: str) -> float:
        return float(statistics.median(each[visit][what] for each in report["pages"][place]))

    bare_ms = middle("(nothing)", "first", "paint_ms")
    for place in report["pages"]:
        paint_ms = middle(place, "first", "paint_ms")
        grid.add_row(
            place,
            f"{paint_ms:.0f}",
            f"{middle(place, 'again', 'paint_ms'):.0f}",
            f"{paint_ms / bare_ms:.1f}",
            f"{middle(place, 'first', 'requests'):.0f}",
            f"{middle(place, 'first', 'sent_bytes') / 1e3:.0f}",
            f"{middle(place, 'again', 'sent_bytes') / 1e3:.0f}",
        )
    return grid
