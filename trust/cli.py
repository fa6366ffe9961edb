"""`qnfv pki`: make an authority, and issue, renew and revoke the certificates of services."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from trust.authority import SERVICE_DAYS, Authority
from trust.credentials import Credentials
from trust.files import Owner
from trust.identity import Identity, Role
from trust.issued import Issued

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
    role: Annotated[Role | None, typer.Argument(help="what the service is")] = None,
    name: Annotated[str, typer.Argument(help="its name, for example dc-1")] = "",
    serial: Annotated[str, typer.Option(help="this certificate alone (hexadecimal)")] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="a PEM file with the certificate; no role and name then")
    ] = None,
) -> None:
    """Revoke a service's certificates: all of them, or one.

    Without role and name, --serial and --certificate also revoke what is not on record. Copy the
    list to the orchestrator's `revocations` file, in one step: it brings it to other services.
    """
    try:
        wanted = int(serial, 16) if serial else None
    except ValueError as error:
        raise typer.BadParameter("a serial is a hexadecimal number") from error
    authority = Authority(folder)
    if role is not None and name and certificate is None:
        new = authority.revoke(_identity(role, name), serial=wanted)
    elif role is None and certificate is not None and wanted is None:
        new = authority.revoke_certificate(_read(certificate))
    elif role is None and certificate is None and wanted is not None:
        new = authority.revoke_serial(wanted)
    else:
        raise typer.BadParameter("name a service (ROLE NAME), a --certificate or a --serial")
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


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error


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
