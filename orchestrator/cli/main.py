"""The command `qnfv`. Other rooms plug in commands and services by entry points."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator.cli import commands, keys, network, schedule, show
from orchestrator.cli.connection import Connection, TokenFile, Url
from problem_details import ProblemError


def _plugged_in() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="qnfv.commands")}


class _WithPlugIns(TyperGroup):
    """Commands of other rooms, imported only when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *sorted(_plugged_in())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        entry = _plugged_in().get(cmd_name)
        if own is not None or entry is None:
            return own
        command = typer.main.get_command(entry.load())
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_WithPlugIns,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="VNF images to remote data centres, sealed under quantum keys, over optical circuits.",
)
for _name in ("image", "vnf", "op", "dc"):
    app.add_typer(getattr(commands, _name), name=_name)
app.add_typer(network.app, name="network")
app.add_typer(schedule.app, name="schedule")
app.add_typer(keys.app, name="keys")
app.add_typer(keys.app, name="key", hidden=True)


@app.callback()
def options(context: typer.Context, url: Url = None, token_file: TokenFile = None) -> None:
    """Options before the command name the orchestrator; a laboratory here is found by itself."""
    context.obj = Connection(url, token_file)


@app.command()
def serve(
    service: Annotated[
        str, typer.Argument(help="orchestrator, slave, unit-agent, optical-agent or kme")
    ],
    settings: Annotated[Path, typer.Option(help="the service's TOML file")],
) -> None:
    """Run one service in the foreground."""
    services = entry_points(group="qnfv.services")
    if service not in services.names:
        raise typer.BadParameter(f"choose one of: {', '.join(sorted(services.names))}")
    services[service].load()(settings)


def main() -> None:
    """Run the command; an expected error is one or two lines, not a trace."""
    try:
        app()
    except ProblemError as error:
        show.errors.print(f"[bold red]{error.title}.[/bold red] {error.detail}")
        if error.next_step:
            show.errors.print(f"[yellow]Next:[/yellow] {error.next_step}")
        sys.exit(1)


if __name__ == "__main__":
    main()
