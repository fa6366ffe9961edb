"""Noun then verb: the commands that speak to the orchestrator."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.connection import client_of
from orchestrator.cli.operations import exit_by, find, watch, watch_or_tell
from orchestrator.cli.output import is_for_programs, tell

if TYPE_CHECKING:
    from orchestrator.cli.client import OrchestratorClient

image = typer.Typer(help="Images of the catalogue.", no_args_is_help=True)
vnf = typer.Typer(help="Deploy, watch and remove VNF instances.", no_args_is_help=True)


KeyMode = Annotated[str, typer.Option(help="pooled, or on_demand as in the paper")]
Cipher = Annotated[
    str, typer.Option(help="aes-256-gcm, or one-time-pad for what is small and very secret")
]
OnFailure = Annotated[
    str,
    typer.Option(
        help="rollback: a failed step undoes all; hold: it waits for `qnfv op retry`, rollback "
        "or fail"
    ),
]
Project = Annotated[str | None, typer.Option(help="whose it shall be, where you have several")]
WaitForEnd = Annotated[
    bool, typer.Option("--wait-for-end/--detach", help="watch the operation to its end, or not")
]
Wait = Annotated[
    float,
    typer.Option(
        help="seconds to wait for a key and a circuit; 0: without a key it is refused at once"
    ),
]


@image.command("add")
def image_add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    name: Annotated[str | None, typer.Option(help="default: the file's name")] = None,
    project: Project = None,
) -> None:
    """Add a docker-save archive, or the disk of a virtual machine."""
    default = (
        re.sub(r"[^A-Za-z0-9._-]+", "-", file.name.removesuffix(".tar")).strip("-.") or "image"
    )
    client = client_of(context)
    from orchestrator.cli.uploading import upload

    document = upload(client, file, name or default[:64], project)
    tell(context, document, lambda: _show_image(document, name))


def _show_image(document: dict[str, Any], name: str | None) -> None:
    show.console.print(
        f"{document['name']}: {document['format']}, {show.size_text(document['size_bytes'])}"
    )
    if name and document["name"] != name:
        show.console.print(
            f"This content is here already, as {document['name']}; --name is unused."
        )
    show.console.print(f"digest {document['digest']}", soft_wrap=True)


@image.command("list")
def image_list(context: typer.Context) -> None:
    """List the catalogue."""
    found = client_of(context).get("/api/v1/images")
    tell(
        context,
        found,
        lambda: show.table(
            ["name", "digest", "format", "size", "deployments", "added"],
            [
                [
                    i["name"],
                    i["digest"][:16],
                    i["format"],
                    show.size_text(i["size_bytes"]),
                    str(i["deployments"]),
                    show.ago_text(i["added_at"]),
                ]
                for i in found
            ],
            "The catalogue is empty. Add an image: qnfv image add FILE",
        ),
    )


@image.command("show")
def image_show(context: typer.Context, reference: str) -> None:
    """Show an image (name or digest)."""
    found = client_of(context).get(f"/api/v1/images/{reference}")
    tell(context, found, lambda: show.console.print_json(data=found))


@image.command("delete")
def image_delete(context: typer.Context, reference: str) -> None:
    """Remove an image that no deployment needs (name or digest)."""
    client_of(context).delete(f"/api/v1/images/{reference}")


@vnf.command("plan")
def vnf_plan(
    context: typer.Context,
    image: str,
    data_centre: str,
    cipher: Cipher = "aes-256-gcm",
    key_mode: KeyMode = "pooled",
) -> None:
    """Say what a deployment would take; does nothing."""
    document = {
        "image": image,
        "data_centre": data_centre,
        "cipher": cipher,
        "key_mode": key_mode,
    }
    plan = client_of(context).post("/api/v1/deployments/plan", document)
    tell(context, plan, lambda: _show_plan(plan))


def _show_plans(plans: list[dict[str, Any]]) -> None:
    for plan in plans:
        _show_plan(plan)


def _show_plan(plan: dict[str, Any]) -> None:
    expected = plan["keys_expected_in_s"]
    key = "there now" if plan["key_available"] else "not there now, "
    if not plan["key_available"]:
        key += f"expected in about {expected:.0f} s" if expected is not None else "not foreseeable"
    lines = [
        ["image", f"{plan['image_digest'][:16]}, {show.size_text(plan['image_bytes'])}"],
        ["cipher", f"{plan['cipher']}, {plan['key_bits']} key bits"],
        ["key", key + (" (emulated)" if plan["emulated_keys"] else "")],
        ["path", " + ".join(plan["path"])],
        ["", f"{plan['path_km']:g} km, {plan['path_loss_db']:g} dB"],
        ["time", _time_text(plan)],
    ]
    show.table(["plan", f"for {plan['data_centre']}"], lines, "")


def _time_text(plan: dict[str, Any]) -> str:
    """How long it takes, and what that is known from."""
    transfer_s, steps_s = plan["transfer_s"], plan["steps_s"]
    if transfer_s is None or steps_s is None:
        return "not known: nothing was deployed there yet"
    wait = "" if plan["key_available"] else ", and the wait for the key"
    return (
        f"about {transfer_s + steps_s:.1f} s{wait} (transfer {transfer_s:.1f} s), by "
        f"{plan['measured_transfers']} transfers and {plan['measured_deployments']} deployments"
    )


@vnf.command("deploy")
def vnf_deploy(
    context: typer.Context,
    image: str,
    data_centre: Annotated[list[str], typer.Argument(help="several: one side by side in each")],
    name: Annotated[str | None, typer.Option(help="default: made up")] = None,
    cipher: Cipher = "aes-256-gcm",
    key_mode: KeyMode = "pooled",
    memory_mib: Annotated[int, typer.Option(min=16)] = 256,
    cpus: Annotated[float, typer.Option(min=0.01)] = 1.0,
    wait: Wait = 0.0,
    on_failure: OnFailure = "rollback",
    project: Project = None,
    wait_for_end: WaitForEnd = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what it would take; do nothing")
    ] = False,
) -> None:
    """Deploy an image (name or digest) in one or several data centres and watch it to its end."""
    if len(set(data_centre)) < len(data_centre):
        raise typer.BadParameter("a data centre is named twice", param_hint="DATA_CENTRE")
    document = {
        "image": image,
        "name": name,
        "cipher": cipher,
        "key_mode": key_mode,
        "memory_mib": memory_mib,
        "cpus": cpus,
        "wait_s": wait,
        "on_failure": on_failure,
        "project": project,
    }
    client = client_of(context)
    wishes = [{**document, "data_centre": each} for each in data_centre]
    # Asked first of each, so that none is begun where another one cannot be.
    plans = [
        client.post("/api/v1/deployments/plan", wish) for wish in wishes if dry_run or wishes[1:]
    ]
    if dry_run:
        tell(context, plans if wishes[1:] else plans[0], lambda: _show_plans(plans))
        return
    begun = []
    for wish in wishes:
        deployment = client.post("/api/v1/deployments", wish)
        where = f" in {wish['data_centre']}" if wishes[1:] else ""
        show.errors.print(f"Deployment {deployment['deployment_id']} ({deployment['name']}){where}")
        begun.append(deployment)
    if wishes[1:]:
        _ends_of(context, client, begun, wait_for_end)
    else:
        _end_of(context, client, begun[0], wait_for_end)


@vnf.command("list")
def vnf_list(context: typer.Context) -> None:
    """List deployments, newest first."""
    found = client_of(context).get("/api/v1/deployments")
    tell(
        context,
        found,
        lambda: show.table(
            ["name", "deployment", "data centre", "state", "end points", "created", "drift"],
            [
                [
                    d["name"],
                    d["deployment_id"],
                    d["data_centre"],
                    show.state_text(d["state"]),
                    _end_points(d["instance"]) if d["state"] == "RUNNING" else "",
                    show.ago_text(d["created_at"]),
                    show.look(d["drift"] or "", {}, otherwise="bold red"),
                ]
                for d in found
            ],
            "Nothing is deployed. Deploy an image: qnfv vnf deploy IMAGE DATA_CENTRE",
        ),
    )


@vnf.command("show")
def vnf_show(context: typer.Context, deployment: str) -> None:
    """Show a deployment and its newest operation."""
    client = client_of(context)
    document = client.get(f"/api/v1/deployments/{find(client, 'deployment', deployment)}")

    def picture() -> None:
        show.console.print_json(data=document)
        newest = client.get(f"/api/v1/operations/{document['operation_id']}")
        show.console.print(show.operation(newest))

    tell(context, document, picture)


@vnf.command("console")
def vnf_console(
    context: typer.Context,
    deployment: str,
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="the last so many")] = 200,
) -> None:
    """Print the instance's console or log."""
    client = client_of(context)
    path = f"/api/v1/deployments/{find(client, 'deployment', deployment)}/console"
    document = client.get(path, lines=lines)
    tell(context, document, lambda: print(document["text"], end=""))


@vnf.command("stop")
def vnf_stop(context: typer.Context, deployment: str, wait_for_end: WaitForEnd = True) -> None:
    """Stop the instance and keep it."""
    _change(context, deployment, "operate", {"change_to": "STOPPED"}, wait_for_end)


@vnf.command("start")
def vnf_start(context: typer.Context, deployment: str, wait_for_end: WaitForEnd = True) -> None:
    """Start the instance again."""
    _change(context, deployment, "operate", {"change_to": "STARTED"}, wait_for_end)


@vnf.command("heal")
def vnf_heal(
    context: typer.Context,
    deployment: str,
    wait: Wait = 0.0,
    on_failure: OnFailure = "rollback",
    wait_for_end: WaitForEnd = True,
) -> None:
    """Make the instance anew; an image that the data centre lost is sent again."""
    document = {"wait_s": wait, "on_failure": on_failure}
    _change(context, deployment, "heal", document, wait_for_end)


def _change(
    context: typer.Context,
    deployment: str,
    action: str,
    document: dict[str, Any],
    wait_for_end: bool,
) -> None:
    client = client_of(context)
    path = f"/api/v1/deployments/{find(client, 'deployment', deployment)}/{action}"
    _end_of(context, client, client.post(path, document), wait_for_end)


@vnf.command("delete")
def vnf_delete(context: typer.Context, deployment: str, wait_for_end: WaitForEnd = True) -> None:
    """Remove a deployment and watch it go."""
    client = client_of(context)
    document = client.delete(f"/api/v1/deployments/{find(client, 'deployment', deployment)}")
    _end_of(context, client, document, wait_for_end)


def _end_of(
    context: typer.Context,
    client: OrchestratorClient,
    deployment: dict[str, Any],
    wait_for_end: bool,
) -> None:
    """Watch the deployment's newest operation, or only tell what was begun."""
    if wait_for_end:
        exit_by(watch_or_tell(context, client, deployment["operation_id"]))
    else:
        tell(context, deployment, lambda: None)


def _ends_of(
    context: typer.Context,
    client: OrchestratorClient,
    deployments: list[dict[str, Any]],
    wait_for_end: bool,
) -> None:
    """`_end_of` for several side by side; programs are told one document, a list."""
    if not wait_for_end:
        tell(context, deployments, lambda: None)
        return
    ended = []
    for deployment in deployments:
        operation_id = deployment["operation_id"]
        if is_for_programs(context):
            *_, last = client.follow_operation(operation_id)
        else:
            show.console.print(f"{deployment['name']} in {deployment['data_centre']}")
            last = watch(client, operation_id)
        ended.append(last)
    tell(context, ended, lambda: None)
    failed = [document for document in ended if document["state"] != "COMPLETED"]
    if failed:
        exit_by(next((each for each in failed if each["state"] == "FAILED_TEMP"), failed[0]))


def _end_points(instance: dict[str, Any] | None) -> str:
    ends = (instance or {}).get("end_points", [])
    return ", ".join(f"{e['host']}:{e['host_port']}" for e in ends)
