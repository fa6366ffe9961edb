"""`-o table|json|yaml`: what a command has to tell, for people or for programs.

The option is added to every command that speaks to an orchestrator, in one place.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

_KEY = "qnfv.output"


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def _note(context: typer.Context, chosen: Format | None) -> None:
    if chosen is not None:
        context.meta[_KEY] = chosen


Output = Annotated[
    Format | None,
    typer.Option(
        "-o",
        "--output",
        envvar="QNFV_OUTPUT",
        help="for people (table), or the document as REST has it",
        show_default=False,
        callback=_note,
        expose_value=False,
    ),
]


def add_output_option(command: Any) -> None:
    """Let `command`, and all below it, take `-o`."""
    if isinstance(command, TyperGroup):
        for below in command.commands.values():
            add_output_option(below)
    else:
        command.params.append(_option())


def _option() -> Any:
    carrier = typer.Typer(add_completion=False)

    @carrier.command()
    def carry(output: Output = None) -> None: ...

    return typer.main.get_command(carrier).params[0]


def is_for_programs(context: typer.Context) -> bool:
    return context.meta.get(_KEY, Format.TABLE) is not Format.TABLE


def tell(context: typer.Context, document: Any, picture: Callable[[], None]) -> None:
    """Print `document` as asked for; `picture` prints it for people."""
    match context.meta.get(_KEY, Format.TABLE):
        case Format.JSON:
            print(json.dumps(document, indent=2, ensure_ascii=False))
        case Format.YAML:
            import yaml  # only where it is asked for

            print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), end="")
        case _:
            picture()
