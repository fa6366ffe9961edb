"""The command `qnfv`. Each noun is imported when it is called, so that the others cost nothing.

Other rooms plug in commands and services by entry points.
"""

from __future__ import annotations

import ast
import gc
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator.cli.connection import Connection, Profile, TokenFile, Url
from orchestrator.cli.exit_codes import exit_code_of
from orchestrator.cli.output import Output, add_output_option
from problem_details import ProblemError


@dataclass(frozen=True)
class Noun:
    """Where a noun's commands are: `module:attribute`."""

    place: str
    help: str
    hidden: bool = False

    def load(self) -> Any:
        module, _, attribute = self.place.partition(":")
        return getattr(importlib.import_module(module), attribute)


_OURS = {
    "image": Noun("orchestrator.cli.commands:image", "Images of the catalogue."),
    "package": Noun(
        "orchestrator.cli.packages:app", "VNF packages: an image with its description."
    ),
    "vnf": Noun("orchestrator.cli.commands:vnf", "Deploy, watch and remove VNF instances."),
    "op": Noun("orchestrator.cli.operations:app", "Operations and their steps."),
    "dc": Noun("orchestrator.cli.data_centres:app", "Remote data centres."),
    "network": Noun("orchestrator.cli.network:app", "The optical network."),
    "schedule": Noun("orchestrator.cli.schedule:app", "Whom Alice serves, and when."),
    "keys": Noun("orchestrator.cli.keys:app", "Key pools; never a key."),
    "key": Noun("orchestrator.cli.keys:app", "Key pools; never a key.", hidden=True),
    "user": Noun("orchestrator.cli.accounts:user", "Users and their roles."),
    "project": Noun("orchestrator.cli.projects:app", "Projects own images and deployments."),
    "token": Noun("orchestrator.cli.accounts:token", "API tokens for programs."),
    "profile": Noun(
        "orchestrator.cli.profile_commands:app", "Orchestrators that are known by name."
    ),
    "audit": Noun("orchestrator.cli.accounts:audit", "Who did what, and whether that is whole."),
}


@cache
def _plugged() -> dict[str, Noun]:
    """Those that other rooms plug in."""
    found = sorted(entry_points(group="qnfv.commands"), key=lambda entry: entry.name)
    return {entry.name: Noun(entry.value, "") for entry in found}


def _first_line(module: str) -> str:
    """The first line of a module's docstring, without running it or its package."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        return ""
    package = Path(spec.origin).parent.joinpath(*rest)
    file = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    said = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    line = said.partition("\n")[0]
    line = line.partition(": ")[2] or line
    return line[:1].upper() + line[1:]


_OVERVIEW = "qnfv.overview"


class _Nouns(TyperGroup):
    """Commands that are imported only when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_OURS, *_plugged()]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        ctx.meta[_OVERVIEW] = True
        super().format_help(ctx, formatter)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        noun = _OURS.get(cmd_name) or _plugged().get(cmd_name)
        if noun is None:
            return None
        if _OVERVIEW in ctx.meta:  # names and their first lines are enough
            said = noun.help or _first_line(noun.place.partition(":")[0])
            return typer.core.TyperCommand(cmd_name, help=said, hidden=noun.hidden)
        command = typer.main.get_group(noun.load())
        command.name = cmd_name
        command.hidden = noun.hidden
        if cmd_name in _OURS:
            add_output_option(command)
        return command


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"qnfv {version('qnfv')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Nouns,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="VNF images to remote data centres, sealed under quantum keys, over optical circuits.",
)


@app.callback()
def options(
    context: typer.Context,
    url: Url = None,
    token_file: TokenFile = None,
    profile: Profile = None,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="say it")
    ] = False,
) -> None:
    """Options before the command name the orchestrator; a laboratory here is found by itself."""
    context.obj = Connection(url, token_file, profile)


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
    # What an import makes stays: looking for garbage among it would be a fifth of the start.
    gc.disable()
    run: Callable[[Path], None] = services[service].load()
    gc.freeze()
    gc.enable()
    run(settings)


@app.command()
def whoami(context: typer.Context, _output: Output = None) -> None:
    """Say as whom the orchestrator knows you."""
    from orchestrator.cli import accounts

    accounts.whoami(context)


def main() -> None:
    """Run the command; an expected error is one or two lines, not a trace."""
    try:
        app()
    except ProblemError as error:
        from orchestrator.cli import show  # rich is not for `--version`

        show.errors.print(f"[bold red]{error.title}.[/bold red] {error.detail}")
        if error.next_step:
            show.errors.print(f"[yellow]Next:[/yellow] {error.next_step}")
        sys.exit(exit_code_of(error))


if __name__ == "__main__":
    main()
