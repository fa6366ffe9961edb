"""`qnfv user`, `token`, `audit` and `whoami`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.connection import client_of
from orchestrator.cli.errors import ClientError, NoSuchThingError
from orchestrator.cli.exit_codes import FAILED
from orchestrator.cli.output import tell

if TYPE_CHECKING:
    from orchestrator.cli.client import OrchestratorClient

user = typer.Typer(help="Users and their roles.", no_args_is_help=True)
token = typer.Typer(help="API tokens for programs.", no_args_is_help=True)
audit = typer.Typer(help="Who did what, and whether that is whole.", no_args_is_help=True)

_USERS = "/api/v1/users"
_TOKENS = "/api/v1/tokens"
_DAY_S = 86_400.0
_IDS_SHOWN = ("deployment", "operation", "instance", "image", "key", "user", "token_id")

UserName = Annotated[str, typer.Argument(metavar="USER")]
RoleOption = Annotated[str, typer.Option(help="administrator, operator or viewer")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(help="file that holds the password; asked for otherwise", dir_okay=False),
]
Keeps = Annotated[
    bool, typer.Option("--keep", help="the user need not set another password at first sign-in")
]


def whoami(context: typer.Context) -> None:
    """Say as whom the orchestrator knows you, and with which role."""
    me = client_of(context).get("/api/v1/me")
    tell(
        context,
        me,
        lambda: show.console.print(f"{me['name']}, {me['role']}, known by {me['via']}"),
    )


# --- users ----------------------------------------------------------------------------------------


@user.command("add")
def user_add(
    context: typer.Context,
    name: UserName,
    role: RoleOption = "viewer",
    password_file: PasswordFile = None,
    keep: Keeps = False,
) -> None:
    """Add a user."""
    document = {
        "name": name,
        "role": role,
        "password": _password(password_file),
        "must_change_password": not keep,
    }
    made = client_of(context).post(_USERS, document)
    tell(
        context,
        made,
        lambda: show.console.print(f"[green]✔[/green] {made['name']} is {made['role']}."),
    )


@user.command("list")
def user_list(context: typer.Context) -> None:
    """List users."""
    found = client_of(context).get(_USERS)
    tell(
        context,
        found,
        lambda: show.table(
            ["user", "role", "password set", "last sign-in", "made"],
            [
                [
                    one["name"],
                    one["role"],
                    show.ago_text(one["password_at"])
                    + (", to be changed" if one["must_change_password"] else ""),
                    show.ago_text(one["signed_in_at"]),
                    show.ago_text(one["created_at"]),
                ]
                for one in found
            ],
            "There is no user. Add one: qnfv user add NAME --role operator",
        ),
    )


@user.command("passwd")
def user_passwd(
    context: typer.Context,
    name: UserName,
    password_file: PasswordFile = None,
    keep: Keeps = False,
) -> None:
    """Set a user's password; the user's sessions end."""
    document = {"password": _password(password_file), "must_change_password": not keep}
    client_of(context).put_only(f"{_USERS}/{name}/password", document)
    show.console.print(f"[green]✔[/green] {name} has another password.")


@user.command("role")
def user_role(context: typer.Context, name: UserName, role: str) -> None:
    """Give a user another role; it counts at once, for tokens and sessions too."""
    made = client_of(context).put(f"{_USERS}/{name}/role", {"role": role})
    tell(
        context,
        made,
        lambda: show.console.print(f"[green]✔[/green] {made['name']} is {made['role']}."),
    )


@user.command("delete")
def user_delete(context: typer.Context, name: UserName) -> None:
    """Delete a user, with all tokens and sessions."""
    client_of(context).delete(f"{_USERS}/{name}")
    show.console.print(f"[green]✔[/green] {name} is gone.")


def _password(file: Path | None) -> str:
    if file is None:
        asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return asked
    try:
        return file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(
            f"The password file {file} cannot be read.", next_step="Name a text file."
        ) from error


# --- tokens ---------------------------------------------------------------------------------------


@token.command("create")
def token_create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="what it is for")],
    user: Annotated[str | None, typer.Option(help="whose; yours otherwise")] = None,
    role: Annotated[str | None, typer.Option(help="not above the user's, which it is else")] = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="it expires after so many")] = None,
) -> None:
    """Make a token. It goes to standard output this once; nobody can show it again."""
    document = {
        "name": name,
        "user": user,
        "role": role,
        "lifetime_s": None if days is None else days * _DAY_S,
    }
    made = client_of(context).post(_TOKENS, document)
    show.errors.print(f"{made['name']} speaks for {made['user']} as {made['role']}.")
    tell(context, made, lambda: print(made["token"]))


@token.command("list")
def token_list(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(help="of this user alone")] = None,
) -> None:
    """List your tokens; as administrator, everybody's."""
    found = client_of(context).get(_TOKENS, **_given(user=user))
    tell(
        context,
        found,
        lambda: show.table(
            ["token", "name", "user", "role", "made", "last use", "expires"],
            [
                [
                    one["token_id"],
                    one["name"],
                    one["user"],
                    one["role"],
                    show.ago_text(one["created_at"]),
                    show.ago_text(one["used_at"]),
                    show.in_text(one["expires_at"]) if one["expires_at"] else "-",
                ]
                for one in found
            ],
            "There is no token. Make one: qnfv token create NAME",
        ),
    )


@token.command("revoke")
def token_revoke(
    context: typer.Context,
    token: Annotated[str, typer.Argument(help="the beginning of its id, or its name")],
) -> None:
    """Revoke a token; it opens nothing from now on."""
    client = client_of(context)
    found = _find_token(client, token)
    client.delete(f"{_TOKENS}/{found}")
    show.console.print(f"[green]✔[/green] {found} is revoked.")


def _find_token(client: OrchestratorClient, reference: str) -> str:
    found = [
        one["token_id"]
        for one in client.get(_TOKENS)
        if one["token_id"].startswith(reference) or one["name"] == reference
    ]
    if len(found) != 1:
        many = f"{len(found)} tokens are called so" if found else f"There is no token {reference}"
        raise NoSuchThingError(
            f"{many}.", next_step="Name it by its id; `qnfv token list` shows them."
        )
    return str(found[0])


# --- audit ----------------------------------------------------------------------------------------


@audit.command("list")
def audit_list(
    context: typer.Context,
    who: Annotated[str | None, typer.Option(help="of this user alone")] = None,
    action: Annotated[
        str | None, typer.Option(help="the beginning of one, as 'POST' or 'operation'")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="a whole id: of an instance, a key, an image, a user")
    ] = None,
    since: Annotated[str | None, typer.Option(help="2026-01-31T12:00:00Z")] = None,
    until: Annotated[str | None, typer.Option(help="2026-01-31T12:00:00Z")] = None,
    before: Annotated[int | None, typer.Option(help="of the page before")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
) -> None:
    """List what was done, newest first."""
    wanted = _given(
        who=who, action=action, subject=subject, since=since, until=until, before=before
    )
    page = client_of(context).get("/api/v1/audit", limit=limit, **wanted)
    tell(context, page, lambda: _show_records(page))


def _show_records(page: dict[str, Any]) -> None:
    show.table(
        ["no.", "when", "who", "from", "action", "outcome", "about"],
        [
            [
                str(one["sequence"]),
                show.ago_text(one["at"]),
                one["who"] + (f" ({one['role']})" if one["role"] else ""),
                one["source"] or "-",
                one["action"],
                one["outcome"],
                _about(one["subjects"]),
            ]
            for one in page["records"]
        ],
        "Nothing like this was done.",
    )
    if page["next_before"] is not None:
        show.console.print(f"[dim]More: --before {page['next_before']}[/dim]")


@audit.command("verify")
def audit_verify(
    context: typer.Context,
    head: Annotated[
        str | None, typer.Option(help="NUMBER:HASH, as this command printed it earlier")
    ] = None,
) -> None:
    """Follow the chain of records from the first to the last, and print its head."""
    verdict = client_of(context).get("/api/v1/audit/verify", **_anchor(head))
    tell(context, verdict, lambda: _show_verdict(verdict, head))
    if not verdict["whole"]:
        raise typer.Exit(FAILED)


def _show_verdict(verdict: dict[str, Any], head: str | None) -> None:
    for witness in verdict["witnesses"]:
        show.console.print(_said_by(witness), highlight=False)
    if not verdict["whole"]:
        show.console.print(f"[bold red]✘ The audit is broken:[/bold red] {verdict['fault']}.")
        return
    show.console.print(f"[green]✔[/green] {verdict['records']} records, one whole chain.")
    show.console.print(
        f"head {verdict['head_sequence']}:{verdict['head_hash']}", soft_wrap=True, highlight=False
    )
    if head is None and not any(witness["heads"] for witness in verdict["witnesses"]):
        show.console.print(
            "[dim]Whether its end was cut off shows against a head noted earlier: --head.[/dim]"
        )


def _said_by(witness: Mapping[str, Any]) -> str:
    said = f"{witness['data_centre']} was told of "
    if witness["heads"]:
        said += f"{witness['heads']} heads, the newest at record {witness['newest_sequence']}"
    else:
        said += "none yet"
    return f"{said}; [yellow]{witness['fault']}[/yellow]" if witness["fault"] else said


def _anchor(head: str | None) -> dict[str, str]:
    if head is None:
        return {}
    number, colon, hash_ = head.partition(":")
    if not (colon and number.isdecimal() and hash_):
        raise ClientError(
            f"{head} is no head of a chain.",
            next_step="Give NUMBER:HASH, as `qnfv audit verify` prints it.",
        )
    return {"sequence": number, "hash": hash_}


def _about(subjects: Mapping[str, str]) -> str:
    """Ids first that people look for; long ones by their beginning."""
    known = [name for name in _IDS_SHOWN if name in subjects]
    others = [name for name in subjects if name not in known]
    return ", ".join(f"{name} {subjects[name][:24]}" for name in [*known, *others][:4])


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
