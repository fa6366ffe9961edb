"""`qnfv pki`: make an authority, and issue, renew and revoke the certificates of services."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from trust.authority import SERVICE_DAYS, Authority, Issued
from trust.credentials import Credentials
from trust.files import Owner
from trust.identity import Identity, Role

app = typer.Typer(help="Make a lab's own certificate authority and the certificates of services.")

Folder = Annotated[Path, typer.Argument(help="where the authority lives")]
ServiceRole = Annotated[Role, typer.Argument(help="what the service is")]
Name = Annotated[str, typer.Argument(help="its name, for example dc-1")]
Days = Annotated[int, typer.Option(min=1, max=825, help="how long it is valid")]
Into = Annotated[Path | None, typer.Option(help="folder for the files")]
User = Annotated[
    str, typer.Option(help="who runs the service: the key is his; default: whose it was, or yours")
]


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="where the authority will live")]) -> None:
    """Make a new authority."""
    authority = Authority.create(folder)
    typer.echo(f"Authority made in {folder}.")
    typer.echo(f"Fingerprint (SHA-256): {authority.fingerprint}")
    typer.echo("Keep authority.key in the trusted data centre; hand out authority.pem")
    typer.echo("and revoked.pem, the list of revoked certificates.")


@app.command()
def issue(
    folder: Folder,
    role: ServiceRole,
    name: Name,
    address: Annotated[
        list[str] | None, typer.Option(help="a further DNS name or IP address (repeatable)")
    ] = None,
    days: Days = SERVICE_DAYS,
    into: Into = None,
    user: User = "",
) -> None:
    """Issue key and certificate for one service."""
    identity, owner = _identity(role, name), Owner.named(user) if user else None
    _tell(
        Authority(folder).issue(
            identity, addresses=tuple(address or ()), days=days, into=into, owner=owner
        )
    )


@app.command()
def renew(
    folder: Folder,
    role: ServiceRole,
    name: Name,
    days: Days = SERVICE_DAYS,
    into: Into = None,
    user: User = "",
) -> None:
    """Issue a new key and certificate with the addresses of the newest one.

    A running service takes the new files by itself, from its next connection on.
    """
    owner = Owner.named(user) if user else None
    _tell(Authority(folder).renew(_identity(role, name), days=days, into=into, owner=owner))


@app.command()
def revoke(
    folder: Folder,
    role: ServiceRole,
    name: Name,
    serial: Annotated[
        str, typer.Option(help="this certificate alone (hexadecimal); all by default")
    ] = "",
) -> None:
    """Revoke a service's certificates.

    Copy the list to the orchestrator's `revocations` file: it brings it to every other service.
    """
    try:
        wanted = int(serial, 16) if serial else None
    except ValueError as error:
        raise typer.BadParameter("a serial is a hexadecimal number") from error
    authority = Authority(folder)
    new = authority.revoke(_identity(role, name), serial=wanted)
    for one in new:
        typer.echo(f"Revoked: {one:x}")
    if not new:
        typer.echo("Revoked already; nothing changed.")
    typer.echo(f"List:    {authority.revocations}")


@app.command("list")
def list_issued(folder: Folder) -> None:
    """Show every certificate that was issued, oldest first."""
    for one in Authority(folder).issued():
        typer.echo(
            f"{one.identity!s:<32} {one.serial:x}  until {one.not_after:%Y-%m-%d}  {_state(one)}"
        )


def _identity(role: Role, name: str) -> Identity:
    try:
        return Identity(role, name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _state(one: Issued) -> str:
    if one.is_revoked:
        return "revoked"
    return "ended" if one.not_after < datetime.now(UTC) else "valid"


def _tell(credentials: Credentials) -> None:
    typer.echo(f"Certificate: {credentials.certificate}")
    typer.echo(f"Key:         {credentials.key}")
    typer.echo(f"Authority:   {credentials.authority}")
    typer.echo(f"Revoked:     {credentials.revocations}")
