"""`qnfv stack`: a data centre's own side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import tomlkit
import typer

from idq3p.unit_agent.settings import UnitAgentSettings
from nfv_stack.settings import SlaveSettings
from trust import Credentials, Identity, Role
from trust.credentials import REVOCATIONS_FILE
from trust.files import Owner, write_whole
from trust.joining import JoinToken, join

app = typer.Typer(help="A data centre's own side.", no_args_is_help=True)

_AGENT_PORT, _INTAKE_PORT = 8444, 7100


@app.callback()
def nothing() -> None:
    """A data centre's own side."""


@app.command("join")
def stack_join(
    token: Annotated[str, typer.Argument(help="what `qnfv dc add` printed; - reads it from input")],
    into: Annotated[Path, typer.Option(help="folder for keys, certificates and settings")],
    state_dir: Annotated[
        Path, typer.Option(help="where the services will keep their state")
    ] = Path("/var/lib/qnfv"),
    vim: Annotated[str, typer.Option(help="the VIM's driver: docker or openstack")] = "docker",
    user: Annotated[
        str, typer.Option(help="who runs the services: the keys are his; default: yours")
    ] = "",
) -> None:
    """Become a data centre of the orchestrator that made the token.

    Keys are made here and stay here. Settings that are there already are left as they are.
    """
    text = typer.get_text_stream("stdin").read() if token == "-" else token  # noqa: S105
    parsed = JoinToken.parse(text)
    owner = Owner.named(user) if user else None
    terms = join(parsed, into, owner=owner)
    for file, document in _settings(terms, into.resolve(), state_dir, vim).items():
        if file.exists():
            typer.echo(f"Left as it is: {file}")
        else:
            write_whole(file, tomlkit.dumps(document).encode())
            typer.echo(f"Written:       {file}")
    SlaveSettings.load(into / "slave.toml")
    typer.echo(f"{terms['data_centre']} has its certificates. Look the settings over, then start:")
    if terms.get("bob"):
        UnitAgentSettings.load(into / "unit-agent.toml")
        typer.echo(f"  qnfv serve unit-agent --settings {into / 'unit-agent.toml'}")
    typer.echo(f"  qnfv serve slave --settings {into / 'slave.toml'}")


def _settings(
    terms: dict[str, Any], folder: Path, state_dir: Path, vim: str
) -> dict[Path, dict[str, Any]]:
    """A first file for each service, by its place."""
    name, bob = terms["data_centre"], terms.get("bob")
    gateway = urlsplit(terms["gateway_url"])
    orchestrator = str(Identity(Role.ORCHESTRATOR, terms["orchestrator"]))

    def credentials(identity: Identity) -> dict[str, str]:
        """The list of revoked certificates is what the service itself writes."""
        kept = state_dir / identity.name / REVOCATIONS_FILE
        return replace(Credentials.in_folder(folder, identity), revocations=kept).table

    slave: dict[str, Any] = {
        "name": name,
        "host": "0.0.0.0",  # noqa: S104 - mutual TLS
        "port": gateway.port or 443,
        "credentials": {
            **credentials(Identity(Role.SLAVE, name)),
            "allowed_peers": [orchestrator],
        },
        "database_url": f"sqlite:///{state_dir / name / 'slave.sqlite'}",
        "state_dir": str(state_dir / name),
        "intake": {
            "host": "0.0.0.0",  # noqa: S104 - sealed images
            "port": _INTAKE_PORT,
            "advertised_host": gateway.hostname,
        },
        "vim": {"driver": vim},
    }
    if not bob:
        return {folder / "slave.toml": slave | {"relayed_links": [terms["link"]]}}
    slave["links"] = [
        {
            "name": terms["link"],
            "unit_agent_url": f"https://127.0.0.1:{_AGENT_PORT}",
            "unit_agent_name": bob,
            "source_options": {"address": terms["bob_address"]},
        }
    ]
    agent: dict[str, Any] = {
        "name": bob,
        "role": "bob",
        "emulated": False,
        "port": _AGENT_PORT,
        "credentials": credentials(Identity(Role.UNIT_AGENT, bob)),
        "callers": [str(Identity(Role.SLAVE, name))],
        "state_dir": str(state_dir / bob),
        "command": ["QKDSequence"],
        "log_file": str(state_dir / bob / "qkdsequence.log"),
        "idq3p_address": terms["bob_address"],
    }
    return {folder / "slave.toml": slave, folder / "unit-agent.toml": agent}
