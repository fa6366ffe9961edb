"""The main job: from an image to a page served by the deployed VNF.

`qnfv demo run` brings a laboratory of its own up for it; `qnfv demo on URL` asks an orchestrator
that runs already (the compose lab, for example).
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.live import Live
from rich.text import Text

from emulators.lab.cli import TimeScale, VimChoice, VimName, announce, choose_vim
from emulators.lab.errors import LabError
from emulators.lab.lab import Lab, LabOptions
from emulators.lab.layout import Layout
from emulators.lab.web_vnf import build, find_static_busybox
from orchestrator.cli import show
from orchestrator.cli.client import OrchestratorClient
from orchestrator.cli.commands import watch
from orchestrator.cli.show import console

app = typer.Typer(help="Run the main job once, and show every step.")

_KEY_WAIT_S = 300.0
_PAGE_WAIT_S = 20.0
_LOOK_EVERY_S = 0.1


@app.callback()
def demo() -> None:
    """The main job, with every step shown."""


@app.command()
def run(
    state_dir: Annotated[Path, typer.Option(help="emptied first")] = Path(".lab/demo"),
    time_scale: TimeScale = 1000.0,
    vim: VimChoice = VimName.AUTO,
    data_centre: Annotated[str, typer.Option(help="dc-1, dc-2 or dc-3")] = "dc-3",
    key_mode: Annotated[str, typer.Option(help="pooled or on_demand")] = "pooled",
    report: Annotated[Path, typer.Option(help="where the report goes")] = Path("demo-report.json"),
) -> None:
    """Bring a laboratory up, deploy the web VNF under a quantum key, fetch its page, go down."""
    announce(time_scale)
    chosen = choose_vim(vim)
    report.unlink(missing_ok=True)
    _clear(state_dir)
    lab = Lab(state_dir, LabOptions(time_scale=time_scale, vim=chosen))
    try:
        console.rule("Laboratory")
        lab.up(lambda name: console.print(f"  [green]✔[/green] {name}"))
        client = OrchestratorClient(lab.layout.rest_url, lab.layout.token_file.read_text().strip())
        document = main_job(client, lab.layout.folder, data_centre, key_mode)
        document["laboratory"] = {
            "time_scale": time_scale,
            "controller": "embedded circuit controller (stands in for OpenDaylight)",
            "qkd_units": "emulated",
            "switch": "emulated Polatis",
        }
        report.write_text(json.dumps(document, indent=2) + "\n")
    finally:
        lab.down()
    console.rule("Done")
    console.print(f"Report: [bold]{report}[/bold]. The laboratory is down.")


@app.command("on")
def run_on(
    url: Annotated[str, typer.Argument(help="the orchestrator, as http://HOST:PORT")],
    token_file: Annotated[Path, typer.Option(help="the file that holds its token")],
    data_centre: Annotated[str, typer.Option(help="where the VNF goes")],
    key_mode: Annotated[str, typer.Option(help="pooled or on_demand")] = "pooled",
    report: Annotated[Path, typer.Option(help="where the report goes")] = Path("demo-report.json"),
) -> None:
    """Do the main job on an orchestrator that runs already; what was deployed goes again."""
    report.unlink(missing_ok=True)
    client = OrchestratorClient(url, token_file.read_text().strip())
    with tempfile.TemporaryDirectory(prefix="qnfv-demo-") as folder:
        document = main_job(client, Path(folder), data_centre, key_mode)
    document["orchestrator"] = {"url": url, "health": client.get("/api/v1/health")}
    report.write_text(json.dumps(document, indent=2) + "\n")
    console.rule("Done")
    console.print(f"Report: [bold]{report}[/bold].")


def _clear(state_dir: Path) -> None:
    """Empty the folder of an earlier demo; any other folder with something in it is left alone."""
    if not state_dir.exists() or not any(state_dir.iterdir()):
        return
    if not Layout.is_in(state_dir):
        raise LabError(
            f"{state_dir} holds something else than a laboratory, and the demo would remove it.",
            next_step="Name a new folder with --state-dir.",
        )
    Lab(state_dir).down()
    shutil.rmtree(state_dir)


def main_job(
    client: OrchestratorClient, folder: Path, data_centre: str, key_mode: str
) -> dict[str, Any]:
    """Build the web VNF's image in `folder`, deploy it, fetch its page, remove it; the report.

    Raises LabError when a part of that did not happen.
    """
    began_at = datetime.now(UTC)
    console.rule("Image")
    archive = folder / "web-vnf.tar"
    image_id = build(archive, busybox=find_static_busybox(folder / "cache"))
    image = client.add_image(archive, "web-vnf")
    console.print(f"web-vnf, {show.size_text(image['size_bytes'])}, built here ({image_id[:19]}…)")
    console.print(f"BLAKE3 {image['digest']}")

    console.rule(f"Deployment to {data_centre}")
    before = _key_counts(client, data_centre)
    if not before["AVAILABLE"]:
        console.print(
            "The pool is empty: the deployment waits, without a circuit, until Alice has "
            f"served {data_centre}'s Bob."
        )
    deployment = client.post(
        "/api/v1/deployments",
        {
            "image": image["digest"],
            "data_centre": data_centre,
            "name": "web-vnf",
            "key_mode": key_mode,
            "wait_s": _KEY_WAIT_S,
        },
    )
    _watch_turns(client, deployment["operation_id"])
    operation = watch(client, deployment["operation_id"])
    if operation["state"] != "COMPLETED":
        why = (operation["error"] or {}).get("detail", "no reason is on record")
        raise LabError(
            f"The deployment ended {operation['state']}: {why}",
            next_step="See the logs of the orchestrator and of the data centre.",
        )

    console.rule("The VNF runs")
    deployment = client.get(f"/api/v1/deployments/{deployment['deployment_id']}")
    end_point = deployment["instance"]["end_points"][0]
    url = f"http://{end_point['host']}:{end_point['host_port']}/"
    page = _fetch(url)
    console.print(f"GET {url} answers [green]200[/green], {len(page)} bytes:")
    console.print(f"  [italic]{_title(page)}[/italic]")
    _show_schedule(client)
    _check_key_is_consumed(client, data_centre, before)
    document = _report(client, image, deployment, operation, began_at, url, page)
    watch(
        client, client.delete(f"/api/v1/deployments/{deployment['deployment_id']}")["operation_id"]
    )
    left = client.get("/api/v1/circuits")["circuits"]
    if any(circuit["purpose"] == "image-transfer" for circuit in left):
        raise LabError("A circuit for image transfer still stands.", next_step="See the logs.")
    return document


def _key_counts(client: OrchestratorClient, data_centre: str) -> dict[str, int]:
    """How many keys of this data centre's pool are in which state."""
    for pool in client.get("/api/v1/keys"):
        if pool["data_centre"] == data_centre:
            counts: dict[str, int] = pool["counts"]
            return counts
    raise LabError(
        f"The orchestrator knows no data centre {data_centre!r}.",
        next_step="List them with `qnfv dc list`.",
    )


def _check_key_is_consumed(
    client: OrchestratorClient, data_centre: str, before: dict[str, int]
) -> None:
    consumed = _key_counts(client, data_centre)["CONSUMED"] - before["CONSUMED"]
    if consumed < 1:
        raise LabError(
            "The VNF runs, but the key of its image is not consumed.",
            next_step="See the keys' states with `qnfv keys show`.",
        )
    console.print(f"Keys consumed by this deployment: {consumed}")


def _watch_turns(client: OrchestratorClient, operation_id: str) -> None:
    """Show Alice at work while the deployment waits for its key."""
    with Live(console=console, refresh_per_second=10, transient=True) as live:
        while True:
            state = client.get(f"/api/v1/operations/{operation_id}")["state"]
            if state not in ("STARTING", "WAITING_FOR_KEY"):
                return
            turns = client.get("/api/v1/schedule", limit=1)["turns"]
            doing = f"{turns[0]['link']} is {turns[0]['state']}" if turns else "about to begin"
            live.update(Text(f"▶ key          waits for Alice: {doing}", style="cyan"))
            time.sleep(_LOOK_EVERY_S)


def _fetch(url: str) -> str:
    """The page; a container that is healthy answers at once, its published port soon after."""
    deadline_s = time.monotonic() + _PAGE_WAIT_S
    while True:
        try:
            return httpx.get(url, timeout=5).raise_for_status().text
        except httpx.HTTPError as error:
            if time.monotonic() > deadline_s:
                raise LabError(
                    f"The VNF's page at {url} cannot be fetched: {error}.",
                    next_step="See `docker logs` of its container.",
                ) from error
            time.sleep(0.05)


def _title(page: str) -> str:
    before, _, rest = page.partition("<title>")
    return rest.partition("</title>")[0] if rest else before[:80]


def _show_schedule(client: OrchestratorClient) -> None:
    console.rule("Alice's turns so far")
    show.table(
        ["turn", "link", "state", "key rate", "QBER", "detail"],
        [
            [
                str(turn["number"]),
                turn["link"],
                turn["state"],
                f"{turn['secret_key_rate_bps']:.0f} b/s" if turn["secret_key_rate_bps"] else "-",
                f"{turn['qber']:.2%}" if turn["qber"] else "-",
                turn["detail"],
            ]
            for turn in reversed(client.get("/api/v1/schedule")["turns"])
        ],
        "none",
    )


def _report(
    client: OrchestratorClient,
    image: dict[str, Any],
    deployment: dict[str, Any],
    operation: dict[str, Any],
    began_at: datetime,
    url: str,
    page: str,
) -> dict[str, Any]:
    detail = {step["name"]: step["detail"] for step in operation["steps"]}
    return {
        "began_at": began_at.isoformat(),
        "steps": [
            {"name": step["name"], "start": step["started_at"], "seconds": step["seconds"]}
            for step in operation["steps"]
        ],
        "cipher": deployment["cipher"],
        "key_mode": deployment["key_mode"],
        "key_id": detail["key"]["key_id"],
        "key_emulated": detail["key"]["emulated"],
        "image_digest": image["digest"],
        "vim_image_id": detail["place"]["vim_image_id"],
        "instance_id": detail["boot"]["instance_id"],
        "vim": detail["boot"]["vim"],
        "bytes": detail["stream"]["bytes"],
        "attempts": detail["stream"]["attempts"],
        "path": detail["circuit"]["cross_connects"],
        "path_loss_db": detail["circuit"]["loss_db"],
        "receipt": detail["notify"]["receipt"],
        "acknowledgement": detail["acknowledge"],
        "page": {"url": url, "status": 200, "bytes": len(page), "title": _title(page)},
        "key_pools": client.get("/api/v1/keys"),
        "turns": client.get("/api/v1/schedule")["turns"],
    }
