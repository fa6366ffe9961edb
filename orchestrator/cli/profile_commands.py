"""`qnfv profile`: orchestrators that are known by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tomlkit
import typer

from orchestrator.cli import profiles, show
from orchestrator.cli.output import tell

app = typer.Typer(help="Orchestrators that are known by name.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="of the profile")]


@app.command("add")
def profile_add(
    name: Name,
    url: Annotated[str, typer.Option("--url", help="the orchestrator's REST, http://HOST:PORT")],
    token_file: Annotated[
        Path, typer.Option("--token-file", help="file that holds the token", dir_okay=False)
    ],
    is_default: Annotated[bool, typer.Option("--default", help="used where none is named")] = False,
) -> None:
    """Keep an orchestrator under a name; the token stays in its file."""
    document = profiles.read()
    known = document.setdefault("profiles", {})
    known[name] = {"url": url, "token_file": str(token_file.resolve())}
    if is_default or len(known) == 1:
        document["default"] = name
    _write(document)


@app.command("list")
def profile_list(context: typer.Context) -> None:
    """List the profiles."""
    document = profiles.read()
    known: dict[str, Any] = document.get("profiles", {})
    tell(
        context,
        document,
        lambda: show.table(
            ["profile", "orchestrator", "token file", ""],
            [
                [
                    name,
                    one.get("url", "-"),
                    one.get("token_file", "-"),
                    "default" if name == document.get("default") else "",
                ]
                for name, one in sorted(known.items())
            ],
            "There is no profile. Keep one: qnfv profile add NAME --url URL --token-file FILE",
        ),
    )


@app.command("use")
def profile_use(name: Name) -> None:
    """Make a profile the default."""
    profiles.named(name)
    _write(profiles.read() | {"default": name})


@app.command("remove")
def profile_remove(name: Name) -> None:
    """Forget a profile; its token file stays."""
    profiles.named(name)
    document = profiles.read()
    del document["profiles"][name]
    if document.get("default") == name:
        del document["default"]
    _write(document)


def _write(document: dict[str, Any]) -> None:
    file = profiles.profiles_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    draft.write_text(tomlkit.dumps(document))
    draft.replace(file)
