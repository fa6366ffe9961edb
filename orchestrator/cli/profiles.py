"""Several orchestrators by name: `profiles.toml` in the user's folder of settings.

default = "bristol"
[profiles.bristol]
url = "http://127.0.0.1:8080"
token_file = "/home/ann/.config/qnfv/bristol.token"
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cli.errors import ClientError, NoSuchThingError


@dataclass(frozen=True)
class Place:
    """Where an orchestrator is, and the file with our token."""

    url: str
    token_file: Path


def profiles_file() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "qnfv" / "profiles.toml"


def read() -> dict[str, Any]:
    """The file as it is; empty where there is none. Raises ClientError."""
    file = profiles_file()
    try:
        document = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ClientError(
            f"{file} cannot be read: {error}.", next_step="Correct it, or move it away."
        ) from error
    return document


def named(name: str) -> Place:
    """Raises NoSuchThingError."""
    known = read().get("profiles", {})
    if name not in known:
        names = ", ".join(sorted(known)) or "none is kept"
        raise NoSuchThingError(
            f"There is no profile {name}.", next_step=f"Use one of: {names} (`qnfv profile add`)."
        )
    try:
        return Place(known[name]["url"], Path(known[name]["token_file"]))
    except KeyError as error:
        raise ClientError(
            f"The profile {name} has no {error}.", next_step=f"Correct {profiles_file()}."
        ) from error


def default() -> Place | None:
    """The default profile; None where none is set."""
    name = read().get("default")
    return None if name is None else named(name)
