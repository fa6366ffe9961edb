"""The main job: from an image to a page served by the deployed VNF.

`qnfv demo run` brings a laboratory of its own up for it; `qnfv demo on URL` asks an orchestrator
that runs already (the compose lab, for example).
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.live import Live
from rich.text import Text

from emulators.lab import configuration_bundle
from emulators.lab.capture import capturing, read, sequence, show_sequence
from emulators.lab.cli import (
    ControllerName,
    TimeScale,
    VimChoice,
    VimName,
    announce,
    choose_vim,
)
from emulators.lab.controllers import OPENDAYLIGHT
from emulators.lab.errors import LabError
from emulators.lab.lab import Lab, LabOptions
from emulators.lab.layout import Layout
from emulators.lab.plans import RELAY
from emulators.lab.web_vnf import build, find_static_busybox
from orchestrator.cli import keys, show
from orchestrator.cli.client import OrchestratorClient
from orchestrator.cli.operations import watch
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
    controller: ControllerName = None,
) -> None:
    """Bring a laboratory up, deploy the web VNF under a quantum key, fetch its page, go down."""
    report.unlink(missing_ok=True)
    _clear(state_dir)
    options = LabOptions(time_scale=time_scale, vim=choose_vim(vim), controller=controller)
    lab = Lab(state_dir, options)
    announce(lab)
    with _running(lab) as client:
        document = main_job(client, lab.layout.folder, data_centre, key_mode)
        document["laboratory"] = {
            "time_scale": time_scale,
            "controller": lab.controller.note,
            "qkd_units": "emulated",
            "switch": "emulated Polatis",
        }
        report.write_text(json.dumps(document, indent=2) + "\n")
    console.rule("Done")
    console.print(f"Report: [bold]{report}[/bold]. The laboratory is down.")


@app.command("pad")
def run_pad(
    state_dir: Annotated[Path, typer.Option(help="emptied first")] = Path(".lab/demo-pad"),
    time_scale: TimeScale = 1000.0,
    vim: VimChoice = VimName.AUTO,
) -> None:
    """Send a 64 KiB configuration bundle under a one-time pad: as many key bits as it has."""
    _clear(state_dir)
    options = LabOptions(time_scale=time_scale, vim=choose_vim(vim), key_capacity=4096)
    lab = Lab(state_dir, options)
    announce(lab)
    with _running(lab) as client:
        archive = lab.layout.folder / "bundle.tar"
        configuration_bundle.build(archive)
        image = client.add_image(archive, "configuration")
        wish = {"image": image["digest"], "data_centre": "dc-1", "cipher": "one-time-pad"}
        console.rule("Plan")
        plan = client.post("/api/v1/deployments/plan", wish)
        console.print(
            f"{show.size_text(image['size_bytes'])} need {plan['key_bits']} key bits; they are "
            + ("there." if plan["key_available"] else "still to be made by Alice.")
        )
        deployment = _deploy(client, {**wish, "name": "configuration", "wait_s": _KEY_WAIT_S})
        steps = {step["name"]: step["detail"] for step in deployment["steps"]}
        console.print(
            f"{steps['key']['key_bits']} bits were used once and are erased at both ends; the "
            f"receipt is {steps['notify']['receipt']}."
        )
        _remove(client, deployment["deployment_id"])
    console.rule("Done")


@app.command("relay")
def run_relay(
    state_dir: Annotated[Path, typer.Option(help="emptied first")] = Path(".lab/demo-relay"),
    time_scale: TimeScale = 1000.0,
    vim: VimChoice = VimName.AUTO,
) -> None:
    """Deploy the web VNF 60 km away, under a key that two trusted nodes relayed."""
    _clear(state_dir)
    options = LabOptions(time_scale=time_scale, vim=choose_vim(vim))
    lab = Lab(state_dir, options, RELAY)
    announce(lab)
    with _running(lab) as client:
        archive = lab.layout.folder / "web-vnf.tar"
        build(archive, busybox=find_static_busybox(lab.layout.folder / "cache"))
        image = client.add_image(archive, "web-vnf")
        wish = {"image": image["digest"], "data_centre": "dc-3", "name": "web-vnf"}
        deployment = _deploy(client, {**wish, "wait_s": _KEY_WAIT_S})
        steps = {step["name"]: step["detail"] for step in deployment["steps"]}
        console.rule("Where its key came from")
        keys.show_trace(client.get(f"/api/v1/keys/{steps['key']['key_id']}/trace"))
        _remove(client, deployment["deployment_id"])
    console.rule("Done")


@app.command("capture")
def run_capture(
    state_dir: Annotated[Path, typer.Option(help="emptied first")] = Path(".lab/capture"),
    time_scale: TimeScale = 1000.0,
    vim: VimChoice = VimName.AUTO,
) -> None:
    """Capture one deployment under a key that is asked for on demand, and print its messages."""
    _clear(state_dir)
    folder = state_dir.resolve() / "wire"
    key_log, file = folder / "tls-keys.log", folder / "deployment.pcapng"
    options = LabOptions(
        time_scale=time_scale,
        vim=choose_vim(vim),
        controller=OPENDAYLIGHT,
        tls_key_log=key_log,
        schedule_enabled=True,
        pool_target_keys=0,
    )
    lab = Lab(state_dir, options)
    announce(lab)
    folder.mkdir(mode=0o700, parents=True)
    with capturing(file), _running(lab) as client:
        document = main_job(client, lab.layout.folder, "dc-3", "on_demand")
    console.rule("On the wire")
    events = sequence(read(file, lab, key_log), lab, "dc-3")
    show_sequence(events)
    console.print(
        f"Key {document['key_id']}, image {document['image_digest'][:16]}…\n"
        f"Capture: [bold]{file}[/bold] (it holds emulated keys), TLS keys: [bold]{key_log}[/bold]"
    )


@contextmanager
def _running(lab: Lab) -> Iterator[OrchestratorClient]:
    """The laboratory while it is up, as its orchestrator's client."""
    console.rule(f"Laboratory: {lab.plan.title}")
    try:
        lab.up(lambda name: console.print(f"  [green]✔[/green] {name}"))
        yield OrchestratorClient(lab.layout.rest_url, lab.layout.token_file.read_text().strip())
    finally:
        lab.down()


def _deploy(client: OrchestratorClient, wish: dict[str, Any]) -> dict[str, Any]:
    """Deploy and watch; the operation, once it is complete. LabError if it is not."""
    console.rule(f"Deployment to {wish['data_centre']}")
    deployment = client.post("/api/v1/deployments", wish)
    _watch_turns(client, deployment["operation_id"])
    operation = watch(client, deployment["operation_id"])
    if operation["state"] != "COMPLETED":
        why = (operation["error"] or {}).get("detail", "no reason is on record")
        raise LabError(
            f"The deployment ended {operation['state']}: {why}",
            next_step="See the logs of the orchestrator and of the data centre.",
        )
    return operation


def _remove(client: OrchestratorClient, deployment_id: str) -> None:
    watch(client, client.delete(f"/api/v1/deployments/{deployment_id}")["operation_id"])


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

    before = _key_counts(client, data_centre)
    if not before["AVAILABLE"]:
        console.print(
            "The pool is empty: the deployment waits, without a circuit, until Alice has "
            f"served {data_centre}'s Bob."
        )
    operation = _deploy(
        client,
        {
            "image": image["digest"],
            "data_centre": data_centre,
            "name": "web-vnf",
            "key_mode": key_mode,
            "wait_s": _KEY_WAIT_S,
        },
    )
    console.rule("The VNF runs")
    deployment = client.get(f"/api/v1/deployments/{operation['deployment_id']}")
    end_point = deployment["instance"]["end_points"][0]
    url = f"http://{end_point['host']}:{end_point['host_port']}/"
    page = _fetch(url)
    console.print(f"GET {url} answers [green]200[/green], {len(page)} bytes:")
    console.print(f"  [italic]{_title(page)}[/italic]")
    _show_schedule(client)
    _check_key_is_consumed(client, data_centre, before)
    document = _report(client, image, deployment, operation, began_at, url, page)
    _remove(client, deployment["deployment_id"])
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
