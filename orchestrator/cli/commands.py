"""Noun then verb: the commands that speak to the orchestrator."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live

from orchestrator.cli import show
from orchestrator.cli.connection import client_of
from orchestrator.cli.errors import ClientError

if TYPE_CHECKING:
    from orchestrator.cli.client import OrchestratorClient

image = typer.Typer(help="Images of the catalogue.", no_args_is_help=True)
vnf = typer.Typer(help="Deploy, watch and remove VNF instances.", no_args_is_help=True)
op = typer.Typer(help="Operations and their steps.", no_args_is_help=True)


_NOUN = {"deployment": "vnf", "operation": "op"}

KeyMode = Annotated[str, typer.Option(help="pooled, or on_demand as in the paper")]
Cipher = Annotated[
    str, typer.Option(help="aes-256-gcm, or one-time-pad for what is small and very secret")
]
Wait = Annotated[
    float,
    typer.Option(
        help="seconds to wait for a key and a circuit; 0: without a key it is refused at once"
    ),
]


def _find(client: OrchestratorClient, kind: str, reference: str) -> str:
    """The id of the one deployment or operation with this id, beginning of an id, or name."""
    key = f"{kind}_id"
    found = [
        document[key]
        for document in client.get(f"/api/v1/{kind}s")
        if document[key].startswith(reference) or document.get("name") == reference
    ]
    if len(found) != 1:
        many = f"{len(found)} {kind}s are called so" if found else f"there is no {kind} {reference}"
        raise ClientError(
            f"{many[0].upper()}{many[1:]}.",
            next_step=f"Name it by its id; `qnfv {_NOUN[kind]} list` shows them.",
        )
    return str(found[0])


@image.command("add")
def image_add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    name: Annotated[str | None, typer.Option(help="default: the file's name")] = None,
) -> None:
    """Add a docker-save archive, or the disk of a virtual machine."""
    default = (
        re.sub(r"[^A-Za-z0-9._-]+", "-", file.name.removesuffix(".tar")).strip("-.") or "image"
    )
    document = client_of(context).add_image(file, name or default[:64])
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
    show.table(
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
            for i in client_of(context).get("/api/v1/images")
        ],
        "The catalogue is empty. Add an image: qnfv image add FILE",
    )


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
    ]
    show.table(["plan", f"for {data_centre}"], lines, "")


@vnf.command("deploy")
def vnf_deploy(
    context: typer.Context,
    image: str,
    data_centre: str,
    name: Annotated[str | None, typer.Option(help="default: made up")] = None,
    cipher: Cipher = "aes-256-gcm",
    key_mode: KeyMode = "pooled",
    memory_mib: Annotated[int, typer.Option(min=16)] = 256,
    cpus: Annotated[float, typer.Option(min=0.01)] = 1.0,
    wait: Wait = 0.0,
    detach: Annotated[bool, typer.Option(help="do not watch it to its end")] = False,
) -> None:
    """Deploy an image (name or digest) in a data centre and watch it to its end."""
    document = {
        "image": image,
        "data_centre": data_centre,
        "name": name,
        "cipher": cipher,
        "key_mode": key_mode,
        "memory_mib": memory_mib,
        "cpus": cpus,
        "wait_s": wait,
    }
    client = client_of(context)
    deployment = client.post("/api/v1/deployments", document)
    show.console.print(f"Deployment {deployment['deployment_id']} ({deployment['name']})")
    if not detach:
        _exit_by(watch(client, deployment["operation_id"]))


@vnf.command("list")
def vnf_list(context: typer.Context) -> None:
    """List deployments, newest first."""
    show.table(
        ["name", "deployment", "data centre", "state", "end points", "created"],
        [
            [
                d["name"],
                d["deployment_id"],
                d["data_centre"],
                show.state_text(d["state"]),
                _end_points(d["instance"]) if d["state"] == "RUNNING" else "",
                show.ago_text(d["created_at"]),
            ]
            for d in client_of(context).get("/api/v1/deployments")
        ],
        "Nothing is deployed. Deploy an image: qnfv vnf deploy IMAGE DATA_CENTRE",
    )


@vnf.command("show")
def vnf_show(context: typer.Context, deployment: str) -> None:
    """Show a deployment and its newest operation."""
    client = client_of(context)
    document = client.get(f"/api/v1/deployments/{_find(client, 'deployment', deployment)}")
    show.console.print_json(data=document)
    show.console.print(show.operation(client.get(f"/api/v1/operations/{document['operation_id']}")))


@vnf.command("delete")
def vnf_delete(context: typer.Context, deployment: str) -> None:
    """Remove a deployment and watch it go."""
    client = client_of(context)
    document = client.delete(f"/api/v1/deployments/{_find(client, 'deployment', deployment)}")
    _exit_by(watch(client, document["operation_id"]))


@op.command("list")
def op_list(context: typer.Context) -> None:
    """List operations, newest first."""
    show.table(
        ["operation", "kind", "state", "deployment", "created", "error"],
        [
            [
                o["operation_id"],
                o["kind"],
                show.state_text(o["state"]),
                o["deployment_id"][:8],
                show.ago_text(o["created_at"]),
                (o["error"] or {}).get("detail", ""),
            ]
            for o in client_of(context).get("/api/v1/operations")
        ],
        "There was no operation yet.",
    )


@op.command("show")
def op_show(context: typer.Context, operation: str) -> None:
    """Show an operation's steps."""
    client = client_of(context)
    path = f"/api/v1/operations/{_find(client, 'operation', operation)}"
    show.console.print(show.operation(client.get(path)))


@op.command("watch")
def op_watch(context: typer.Context, operation: str) -> None:
    """Watch an operation to its end."""
    client = client_of(context)
    _exit_by(watch(client, _find(client, "operation", operation)))


def watch(client: OrchestratorClient, operation_id: str) -> dict[str, Any]:
    """Show an operation live until it ended; returns its last document."""
    document: dict[str, Any] = client.get(f"/api/v1/operations/{operation_id}")
    with Live(show.operation(document), console=show.console, refresh_per_second=10) as live:
        for document in client.follow_operation(operation_id):
            live.update(show.operation(document))
    show.console.print()
    return document


def _exit_by(document: dict[str, Any]) -> None:
    if document["state"] != "COMPLETED":
        raise typer.Exit(1)


def _end_points(instance: dict[str, Any] | None) -> str:
    ends = (instance or {}).get("end_points", [])
    return ", ".join(f"{e['host']}:{e['host_port']}" for e in ends)
