"""Which orchestrator the command speaks to."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import profiles
from orchestrator.cli.errors import ClientError
from orchestrator.cli.profiles import Place

if TYPE_CHECKING:
    from orchestrator.cli.client import OrchestratorClient

LAB_CLIENT_FILE = Path(".lab/client.toml")

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="QNFV_URL", help="the orchestrator's REST, http://HOST:PORT"),
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", envvar="QNFV_TOKEN_FILE", help="file that holds the token"),
]


Profile = Annotated[
    str | None,
    typer.Option("--profile", envvar="QNFV_PROFILE", help="one of `qnfv profile list`"),
]


@dataclass
class Connection:
    """Options given before the command; a laboratory in this folder is found by itself."""

    url: str | None = None
    token_file: Path | None = None
    profile: str | None = None

    def open(self) -> OrchestratorClient:
        from orchestrator.cli.client import OrchestratorClient  # httpx is not for `--help`

        url, token_file = self.url, self.token_file
        if url is None or token_file is None:
            found = self._found()
            url, token_file = url or found.url, token_file or found.token_file
        try:
            token = token_file.read_text().strip()
        except OSError as error:
            raise ClientError(
                f"The token file {token_file} cannot be read: {error.strerror}.",
                next_step="Ask for the file, or for the right to read it.",
            ) from error
        return OrchestratorClient(url, token)

    def _found(self) -> Place:
        """The profile asked for, or the laboratory in this folder, or the default profile."""
        if self.profile is not None:
            return profiles.named(self.profile)
        if LAB_CLIENT_FILE.is_file():
            found = tomllib.loads(LAB_CLIENT_FILE.read_text())
            return Place(found["url"], Path(found["token_file"]))
        default = profiles.default()
        if default is None:
            raise ClientError(
                "No orchestrator is named, there is no laboratory in this folder, and no profile.",
                next_step="Give --url and --token-file (or QNFV_URL and QNFV_TOKEN_FILE), keep "
                "them with `qnfv profile add`, or start a laboratory with `qnfv lab up`.",
            )
        return default


def client_of(context: typer.Context) -> OrchestratorClient:
    """A client of the orchestrator that this command speaks to."""
    connection = context.find_object(Connection)
    assert connection is not None
    return connection.open()
