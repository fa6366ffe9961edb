"""`qnfv dc`: the data centres, and how a new one comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tomlkit
import typer
from tomlkit.exceptions import TOMLKitError

from orchestrator.cli import show
from orchestrator.cli.connection import client_of
from orchestrator.cli.errors import ClientError
from orchestrator.cli.output import tell

app = typer.Typer(help="Remote data centres.", no_args_is_help=True)


@app.command("list")
def dc_list(context: typer.Context) -> None:
    """List the data centres."""
    found = client_of(context).get("/api/v1/data-centres")
    tell(
        context,
        found,
        lambda: show.table(
            ["name", "reachable", "VIM", "QKD link", "end point"],
            [
                [
                    d["name"],
                    "yes" if d["reachable"] else f"no: {d['detail']}",
                    f"{d['vim']['driver']} {d['vim']['version']}" if d["vim"] else "-",
                    d["link"],
                    d["end_point"],
                ]
                for d in found
            ],
            "No data centre is configured. Bring one in with: qnfv dc add NAME",
        ),
    )


@app.command("add")
def dc_add(
    name: Annotated[str, typer.Argument(help="the data centre, and its end point in the topology")],
    authority: Annotated[Path, typer.Option(help="folder of the authority (`qnfv pki init`)")],
    address: Annotated[str, typer.Option(help="HOST:PORT where the data centre reaches us now")],
    gateway_url: Annotated[str, typer.Option(help="https://HOST:PORT of its gateway, from here")],
    link: Annotated[str, typer.Option(help="its QKD link, for example alice--bob-5")],
    bob: Annotated[
        str, typer.Option(help="its Bob: name of his agent and his end point; none: relayed keys")
    ] = "",
    bob_address: Annotated[str, typer.Option(help="Bob's address, as Alice is told it")] = "",
    end_point: Annotated[str, typer.Option(help="its classical end point; default: NAME")] = "",
    settings: Annotated[
        Path | None, typer.Option(help="the orchestrator's TOML file, to be told of it")
    ] = None,
    listen: Annotated[str, typer.Option(help="address to listen on; default: all")] = "0.0.0.0",  # noqa: S104
    minutes: Annotated[float, typer.Option(min=1, max=1440, help="how long the token holds")] = 60,
) -> None:
    """Make a join token and wait for the data centre; there: `qnfv stack join TOKEN`.

    The token is as good as the data centre's identity until it is used: hand it over where nobody
    else reads it.
    """
    from trust import Authority, Identity, Role
    from trust.joining import JoinDesk

    if bool(bob) != bool(bob_address):
        raise typer.BadParameter("give both --bob and --bob-address, or neither (relayed keys)")
    table = _table(name, gateway_url, end_point, link, bob, bob_address)
    document = _document(settings, table) if settings is not None else None
    try:
        identities = {Identity(Role.SLAVE, name): ()}
        if bob:
            identities[Identity(Role.UNIT_AGENT, bob)] = ()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    orchestrator = str(document.get("name", "central")) if document is not None else "central"
    desk = JoinDesk(
        Authority(authority),
        identities,
        address=address,
        terms={**table, "data_centre": name, "bob": bob, "orchestrator": orchestrator},
        valid_s=minutes * 60,
    )
    typer.echo(desk.token.text)
    show.errors.print(
        f"Waiting for {name} until {desk.token.expires_at:%H:%M} UTC. There, run:"
        "  [bold]qnfv stack join TOKEN --into FOLDER[/bold]"
    )
    if not desk.serve(listen, _port_of(address)):
        raise ClientError(
            f"{name} did not come.", next_step="Try again; the token is of no use any more."
        )
    show.errors.print(f"[green]✔[/green] {name} has its certificates.")
    if document is None or settings is None:
        typer.echo(tomlkit.dumps({"data_centres": [table]}))
        show.errors.print("Add this to the orchestrator's settings, then start it again.")
        return
    from trust.files import write_whole

    file = settings.resolve()  # a link stays one
    write_whole(file, tomlkit.dumps(document).encode(), mode=file.stat().st_mode & 0o777)
    show.errors.print(f"{settings} knows it. Start the orchestrator again: operations go on.")


def _table(
    name: str, gateway_url: str, end_point: str, link: str, bob: str, bob_address: str
) -> dict[str, Any]:
    table = {
        "name": name,
        "gateway_url": gateway_url,
        "end_point": end_point or name,
        "link": link,
    }
    return table | {"bob_end_point": bob, "bob_address": bob_address} if bob else table


def _document(settings: Path, table: dict[str, Any]) -> tomlkit.TOMLDocument:
    """The orchestrator's settings with the new data centre. Raises what makes them unusable."""
    from pydantic import ValidationError

    from orchestrator.settings import DataCentreTable

    try:
        DataCentreTable.model_validate(table)
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
        raise ClientError(
            f"The orchestrator would not take {table['name']}: {faults}.",
            next_step="Correct the options.",
        ) from error
    try:
        document = tomlkit.parse(settings.read_text())
    except (OSError, TOMLKitError) as error:
        raise ClientError(
            f"{settings} cannot be read: {error}.", next_step="Name the orchestrator's TOML file."
        ) from error
    known = [dict(one) for one in document.get("data_centres", [])]
    if any(one.get("name") == table["name"] for one in known):
        raise ClientError(
            f"{settings} has a data centre {table['name']} already.",
            next_step="Renew its certificates with `qnfv pki renew`, or choose another name.",
        )
    document["data_centres"] = [*known, table]
    return document


def _port_of(address: str) -> int:
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise typer.BadParameter(f"{address} is no HOST:PORT")
    return int(port)
