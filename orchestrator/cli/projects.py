"""`qnfv project`: what owns images and deployments, and who is in it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.connection import client_of
from orchestrator.cli.output import tell

app = typer.Typer(help="Projects own images and deployments.", no_args_is_help=True)

_PROJECTS = "/api/v1/projects"
Name = Annotated[str, typer.Argument(metavar="PROJECT")]
User = Annotated[str, typer.Argument(metavar="USER")]


@app.command("list")
def project_list(context: typer.Context) -> None:
    """List your projects; as administrator, all."""
    found = client_of(context).get(_PROJECTS)
    tell(context, found, lambda: _table(found))


@app.command("add")
def project_add(
    context: typer.Context,
    name: Name,
    purpose: Annotated[str, typer.Option(help="what it is for")] = "",
) -> None:
    """Make a project."""
    made = client_of(context).post(_PROJECTS, {"name": name, "purpose": purpose})
    tell(context, made, lambda: _table([made]))


@app.command("delete")
def project_delete(context: typer.Context, name: Name) -> None:
    """Delete a project that owns nothing."""
    client_of(context).delete(f"{_PROJECTS}/{name}")


@app.command("grant")
def project_grant(context: typer.Context, name: Name, user: User) -> None:
    """Make a user a member; the user then sees nothing of projects without membership."""
    made = client_of(context).put(f"{_PROJECTS}/{name}/members/{user}", {})
    tell(context, made, lambda: _table([made]))


@app.command("revoke")
def project_revoke(context: typer.Context, name: Name, user: User) -> None:
    """Take a member out of a project."""
    made = client_of(context).delete(f"{_PROJECTS}/{name}/members/{user}")
    tell(context, made, lambda: _table([made]))


def _table(projects: list[dict[str, Any]]) -> None:
    show.table(
        ["project", "purpose", "members", "owns"],
        [
            [
                one["name"],
                one["purpose"],
                ", ".join(one["members"]) or "-",
                ", ".join(f"{count} {kind}(s)" for kind, count in one["owned"].items()) or "-",
            ]
            for one in projects
        ],
        "You are in no project.",
    )
