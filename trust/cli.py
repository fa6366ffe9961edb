"""`qnfv pki`: make an authority and the certificates of services."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trust.identity import Identity, Role
from trust.pki import SERVICE_DAYS, Authority

app = typer.Typer(help="Make a lab's own certificate authority and the certificates of services.")


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="where the authority will live")]) -> None:
    """Make a new authority."""
    authority = Authority.create(folder)
    typer.echo(f"Authority made in {folder}.")
    typer.echo(f"Fingerprint (SHA-256): {authority.fingerprint}")
    typer.echo("Keep authority.key in the trusted data centre; hand out authority.pem.")


@app.command()
def issue(
    folder: Annotated[Path, typer.Argument(help="where the authority lives")],
    role: Annotated[Role, typer.Argument(help="what the service is")],
    name: Annotated[str, typer.Argument(help="its name, for example dc-1")],
    address: Annotated[
        list[str] | None, typer.Option(help="a further DNS name or IP address (repeatable)")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=825, help="how long it is valid")] = SERVICE_DAYS,
    into: Annotated[Path | None, typer.Option(help="folder for the three files")] = None,
) -> None:
    """Issue key and certificate for one service."""
    try:
        identity = Identity(role, name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    credentials = Authority(folder).issue(
        identity, addresses=tuple(address or ()), days=days, into=into
    )
    typer.echo(f"Certificate: {credentials.certificate}")
    typer.echo(f"Key:         {credentials.key}")
    typer.echo(f"Authority:   {credentials.authority}")
