"""Takes the screenshots of docs/screenshots: `make screenshots`.

A laboratory of its own comes up, two images are deployed, two VNF packages uploaded, Alice is held
at her farthest Bob, and a third deployment waits for its key; then each page of the menu is
photographed, light, dark and on a phone.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from emulators.lab import configuration_bundle
from emulators.lab.lab import Lab, LabOptions
from orchestrator.cli.client import OrchestratorClient
from orchestrator.cli.uploading import upload_package
from orchestrator.gui.navigation import ENTRIES

TARGET = Path(__file__).parent / "screenshots"
LOOKS: dict[str, tuple[Literal["light", "dark"], int]] = {
    "light": ("light", 1280),
    "dark": ("dark", 1280),
    "phone": ("light", 375),
}
HEIGHT_PX = 860
PATIENCE_S = 240.0
HELD = {"kind": "hold", "interrupt": True, "duration_s": 60}
SETTLE_MS = 1500
"""Until map and plots are drawn."""
USER = "ada"


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {PATIENCE_S:.0f} s")
        time.sleep(0.1)


def fill(client: OrchestratorClient, folder: Path) -> dict[str, str]:
    """Bring something onto the pages; returns the paths of what is worth a picture of its own."""
    for name in ("edge-firewall", "edge-router"):
        archive = folder / f"{name}.tar"
        configuration_bundle.build(archive, seed=name)
        client.add_image(archive, name)
    packages(client, folder)
    until(lambda: all(pool["level_keys"] > 0 for pool in client.get("/api/v1/keys")))
    deployed = [deploy(client, "edge-firewall", "dc-1"), deploy(client, "edge-router", "dc-3")]
    for one in deployed:
        operation = f"/api/v1/operations/{one['operation_id']}"
        until(lambda operation=operation: client.get(operation)["ended_at"] is not None)  # type: ignore[misc]
    client.put("/api/v1/schedule/bobs/alice--bob-3/pin", HELD)
    until(lambda: client.get("/api/v1/schedule")["turns"][0]["state"] == "generating")
    deploy(client, "edge-firewall", "dc-2", key_mode="on_demand")
    return {
        "deploy": "/deploy?image=edge-router&data_centre=dc-1",
        "operation": f"/operations/{deployed[0]['operation_id']}",
        "instance": f"/deployments/{deployed[0]['deployment_id']}",
    }


def packages(client: OrchestratorClient, folder: Path) -> None:
    """One that is onboarded, and one that tells what is wrong with it."""
    good, bad = folder / "edge-cache.tar", folder / "edge-probe.csar"
    configuration_bundle.build(good, seed="edge-cache")
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("readme.txt", "no description")
    for file in (bad, good):
        path = f"/vnfpkgm/v1/vnf_packages/{upload_package(client, file, file.stem)}"
        until(lambda path=path: client.get(path)["onboardingState"] in ("CREATED", "ONBOARDED"))  # type: ignore[misc]


def deploy(client: OrchestratorClient, image: str, data_centre: str, **more: Any) -> dict[str, Any]:
    wish = {"image": image, "data_centre": data_centre, "name": image, "wait_s": 3600, **more}
    answer: dict[str, Any] = client.post("/api/v1/deployments", wish)
    return answer


def photograph(browser: Browser, url: str, password: str, paths: dict[str, str]) -> None:
    for look, (theme, width) in LOOKS.items():
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHT_PX}, color_scheme=theme
        )
        page = context.new_page()
        page.goto(f"{url}/sign-in")
        keep(page, f"sign-in-{look}")
        context.request.post(f"{url}/api/v1/session", data={"user": USER, "password": password})
        for name, path in paths.items():
            page.goto(url + path)
            page.wait_for_timeout(SETTLE_MS)
            keep(page, f"{name}-{look}")
        context.close()


def keep(page: Page, name: str) -> None:
    """As a PNG with a palette, which is a third as large."""
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        small = picture.convert("RGB").quantize(255, method=Image.Quantize.MEDIANCUT)
        small.save(TARGET / f"{name}.png", optimize=True)


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("Screenshots need Debian's chromium: apt-get install chromium")
    TARGET.mkdir(exist_ok=True)
    password = secrets.token_urlsafe()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(
            Path(folder) / "lab",
            LabOptions(time_scale=120.0, pool_target_keys=300, key_capacity=800, seed=1),
        )
        lab.up()
        try:
            token = lab.layout.token_file.read_text().strip()
            client = OrchestratorClient(lab.layout.rest_url, token)
            user = {"name": USER, "role": "administrator", "password": password}
            client.post("/api/v1/users", {**user, "must_change_password": False})
            special = fill(client, Path(folder))
            menu = {entry.path.strip("/") or "overview": entry.path for entry in ENTRIES}
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
            photograph(browser, lab.layout.rest_url, password, {**menu, **special})
            browser.close()
        finally:
            lab.down()


if __name__ == "__main__":
    main()
