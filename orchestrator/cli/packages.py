"""`qnfv package`: VNF packages, uploaded ones and images of the catalogue."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.connection import client_of
from orchestrator.cli.errors import NoSuchThingError
from orchestrator.cli.exit_codes import FAILED
from orchestrator.cli.output import tell
from timekeeping import Clock, SystemClock

if TYPE_CHECKING:
    from orchestrator.cli.client import OrchestratorClient

app = typer.Typer(help="VNF packages: an image with its description.", no_args_is_help=True)

_PACKAGES = "/vnfpkgm/v1/vnf_packages"
_INSTANCES = "/vnflcm/v1/vnf_instances"
_LOOK_EVERY_S = 0.5
_AT_REST = ("CREATED", "ONBOARDED")
_LOOKS = {"ONBOARDED": "bold green", "CREATED": "yellow"}
Reference = Annotated[
    str, typer.Argument(metavar="PACKAGE", help="its id, the beginning of it, or its product name")
]


@app.command("add")
def package_add(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, readable=True, help="a zip archive (CSAR), or a bare image"
        ),
    ],
    project: Annotated[
        str | None, typer.Option(help="whose it shall be, where you have several")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(metavar="PACKAGE", help="one that waits for its content; default: a new one"),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, help="seconds to wait until it was checked; 0: not at all")
    ] = 600.0,
) -> None:
    """Upload a VNF package and say what became of it."""
    client = client_of(context)
    from orchestrator.cli.uploading import upload_package

    package_id = None if into is None else _found(client, into)["id"]
    sent = upload_package(client, file, _name_of(file), project, package_id)
    document = _settled(client, sent, wait, SystemClock())
    tell(context, document, lambda: _told(document))
    if document["onboardingState"] == "CREATED":
        raise typer.Exit(FAILED)


@app.command("list")
def package_list(context: typer.Context) -> None:
    """List packages, newest first; each other image of the catalogue is one by itself."""
    found = client_of(context).get_all(_PACKAGES)
    tell(
        context,
        found,
        lambda: show.table(
            ["product", "package", "onboarding", "operational", "usage", "why"],
            [
                [
                    _title(each),
                    each["id"],
                    show.look(each["onboardingState"], _LOOKS, otherwise="cyan"),
                    each["operationalState"],
                    each["usageState"],
                    each.get("onboardingFailureDetails", {}).get("detail", ""),
                ]
                for each in found
            ],
            "There is no package. Add one: qnfv package add FILE",
        ),
    )


@app.command("show")
def package_show(context: typer.Context, package: Reference) -> None:
    """Show a package, and the VNF instances of it."""
    client = client_of(context)
    document = _found(client, package)

    def picture() -> None:
        show.console.print_json(data=document)
        if "vnfdId" in document:
            query = f"(eq,vnfdId,{document['vnfdId']})"
            users = client.get_all(_INSTANCES, filter=query)
            names = ", ".join(each.get("vnfInstanceName") or each["id"] for each in users)
            show.console.print(f"VNF instances of this VNFD: {names or 'none'}")

    tell(context, document, picture)


@app.command("enable")
def package_enable(context: typer.Context, package: Reference) -> None:
    """Let VNFs be made of it again."""
    _switch(context, package, "ENABLED")


@app.command("disable")
def package_disable(context: typer.Context, package: Reference) -> None:
    """Let no more VNFs be made of it; those that there are go on."""
    _switch(context, package, "DISABLED")


@app.command("delete")
def package_delete(context: typer.Context, package: Reference) -> None:
    """Delete a disabled package that no VNF instance is of, or one that was not onboarded."""
    client = client_of(context)
    client.delete(f"{_PACKAGES}/{_found(client, package)['id']}")


# --- inside


def _switch(context: typer.Context, package: str, state: str) -> None:
    client = client_of(context)
    path = f"{_PACKAGES}/{_found(client, package)['id']}"
    client.patch(path, {"operationalState": state})
    document = client.get(path)
    tell(context, document, lambda: _told(document))


def _found(client: OrchestratorClient, reference: str) -> dict[str, Any]:
    """The one package with this id, beginning of an id, or product name."""
    found = [
        each
        for each in client.get_all(_PACKAGES)
        if each["id"].startswith(reference)
        or reference in (each.get("vnfProductName"), _title(each))
    ]
    if len(found) != 1:
        many = f"{len(found)} packages are" if found else "No package is"
        raise NoSuchThingError(
            f"{many} called {reference}.",
            next_step="Name it by its id; `qnfv package list` shows them.",
        )
    return dict(client.get(f"{_PACKAGES}/{found[0]['id']}"))


def _settled(
    client: OrchestratorClient, package_id: str, patience_s: float, clock: Clock
) -> dict[str, Any]:
    """Its document once it was processed, or after `patience_s`."""
    never, deadline = threading.Event(), clock.monotonic() + patience_s
    while True:
        document: dict[str, Any] = client.get(f"{_PACKAGES}/{package_id}")
        if document["onboardingState"] in _AT_REST or clock.monotonic() >= deadline:
            return document
        clock.wait(never, _LOOK_EVERY_S)


def _told(document: dict[str, Any]) -> None:
    failure = document.get("onboardingFailureDetails")
    show.console.print(
        f"{_title(document) or 'package'}: {document['onboardingState']}, "
        f"{document['operationalState']}, {document['usageState']}"
    )
    show.console.print(f"package {document['id']}", soft_wrap=True)
    if "vnfdId" in document:
        show.console.print(f"VNFD {document['vnfdId']}", soft_wrap=True)
    if document["onboardingState"] == "PROCESSING":
        show.errors.print(f"It is being checked still: qnfv package show {document['id'][:8]}")
    if failure:
        show.errors.print(f"[bold red]{failure['title']}.[/bold red] {failure['detail']}")
        if failure.get("next_step"):
            show.errors.print(f"[yellow]Next:[/yellow] {failure['next_step']}")


def _title(document: dict[str, Any]) -> str:
    parts = (document.get("vnfProductName"), document.get("vnfSoftwareVersion"))
    return " ".join(part for part in parts if part)


def _name_of(file: Path) -> str:
    bare = re.sub(r"\.(csar|zip|tar|qcow2|img|raw)$", "", file.name, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", bare).strip("-._")[:64] or "package"
