"""Which orchestrator the command speaks to."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.errors import ClientError

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


@dataclass
class Connection:
    """Options given before the command; a laboratory in this folder is found by itself."""

    url: str | None = None
    token_file: Path | None = None

    def open(self) -> OrchestratorClient:
        from orchestrator.cli.client import OrchestratorClient  # httpx is not for `--help`

        url, token_file = self.url, self.token_file
        if (url is None or token_file is None) and LAB_CLIENT_FILE.is_file():
            found = tomllib.loads(LAB_CLIENT_FILE.read_text())
            url = url or found["url"]
            token_file = token_file or Path(found["token_file"])
        if url is None or token_file is None:
            raise ClientError(
                "No orchestrator is named, and there is no laboratory in this folder.",
                next_step="Give --url and --token-file (or QNFV_URL and QNFV_TOKEN_FILE), "
                "or start a laboratory with `qnfv lab up`.",
            )
        try:
            token = token_file.read_text().strip()
        except OSError as error:
            raise ClientError(
                f"The token file {token_file} cannot be read: {error.strerror}.",
                next_step="Ask for the file, or for the right to read it.",
            ) from error
        return OrchestratorClient(url, token)


def client_of(context: typer.Context) -> OrchestratorClient:
    """A client of the orchestrator that this command speaks to."""
    connection = context.find_object(Connection)
    assert connection is not None
    return connection.open()
