"""Operations and their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.live import Live

from orchestrator.cli import show
from orchestrator.cli.connection import client_of
from orchestrator.cli.errors import NoSuchThingError
from orchestrator.cli.exit_codes import FAILED, HELD
from orchestrator.cli.output import is_for_programs, tell

if TYPE_CHECKING:
    from orchestrator.cli.client import OrchestratorClient

app = typer.Typer(help="Operations and their steps.", no_args_is_help=True)

_NOUN = {"deployment": "vnf", "operation": "op"}


def find(client: OrchestratorClient, kind: str, reference: str) -> str:
    """The id of the one deployment or operation with this id, beginning of an id, or name."""
    key = f"{kind}_id"
    found = [
        document[key]
        for document in client.get(f"/api/v1/{kind}s")
        if document[key].startswith(reference) or document.get("name") == reference
    ]
    if len(found) != 1:
        many = f"{len(found)} {kind}s are called so" if found else f"there is no {kind} {reference}"
        raise NoSuchThingError(
            f"{many[0].upper()}{many[1:]}.",
            next_step=f"Name it by its id; `qnfv {_NOUN[kind]} list` shows them.",
        )
    return str(found[0])


@app.command("list")
def op_list(context: typer.Context) -> None:
    """List operations, newest first."""
    found = client_of(context).get("/api/v1/operations")
    tell(
        context,
        found,
        lambda: show.table(
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
                for o in found
            ],
            "There was no operation yet.",
        ),
    )


@app.command("show")
def op_show(context: typer.Context, operation: str) -> None:
    """Show an operation's steps."""
    client = client_of(context)
    found = client.get(f"/api/v1/operations/{find(client, 'operation', operation)}")
    tell(context, found, lambda: show.console.print(show.operation(found)))


@app.command("watch")
def op_watch(context: typer.Context, operation: str) -> None:
    """Watch an operation to its end."""
    client = client_of(context)
    exit_by(watch_or_tell(context, client, find(client, "operation", operation)))


@app.command("retry")
def op_retry(context: typer.Context, operation: str) -> None:
    """Try a held operation again, under a new key unless its image arrived."""
    exit_by(_act(context, operation, "retry"))


@app.command("rollback")
def op_rollback(context: typer.Context, operation: str) -> None:
    """Undo what a held operation kept."""
    exit_by(_act(context, operation, "rollback"), expected="ROLLED_BACK")


@app.command("fail")
def op_fail(context: typer.Context, operation: str) -> None:
    """Give a held operation up as it is; `qnfv vnf delete` takes away what is left."""
    exit_by(_act(context, operation, "fail"), expected="FAILED")


@app.command("cancel")
def op_cancel(context: typer.Context, operation: str) -> None:
    """End an operation that waits or runs; it is rolled back, or held if it was so asked."""
    document = _act(context, operation, "cancel")
    exit_by(document, expected="FAILED_TEMP" if document["allowed_actions"] else "ROLLED_BACK")


def _act(context: typer.Context, operation: str, action: str) -> dict[str, Any]:
    client = client_of(context)
    operation_id = find(client, "operation", operation)
    client.post(f"/api/v1/operations/{operation_id}/{action}", {})
    return watch_or_tell(context, client, operation_id)


def watch(client: OrchestratorClient, operation_id: str) -> dict[str, Any]:
    """Show an operation live until it ended or is held; returns its last document."""
    document: dict[str, Any] = client.get(f"/api/v1/operations/{operation_id}")
    with Live(show.operation(document), console=show.console, refresh_per_second=10) as live:
        for document in client.follow_operation(operation_id):
            live.update(show.operation(document))
    show.console.print()
    return document


def watch_or_tell(
    context: typer.Context, client: OrchestratorClient, operation_id: str
) -> dict[str, Any]:
    """`watch`; programs are told the last document alone."""
    if not is_for_programs(context):
        return watch(client, operation_id)
    *_, last = client.follow_operation(operation_id)
    tell(context, last, lambda: None)
    return last


def exit_by(document: dict[str, Any], *, expected: str = "COMPLETED") -> None:
    """End with a code that says so if the operation did not come to what was wanted."""
    if document["state"] != expected:
        raise typer.Exit(HELD if document["state"] == "FAILED_TEMP" else FAILED)
