"""Several orchestrators in one laboratory: a MariaDB of somebody's, and a Redis of its own."""

from __future__ import annotations

import shutil
from copy import deepcopy
from typing import Any, Final

from emulators.lab.controllers import OPENDAYLIGHT
from emulators.lab.errors import LabError
from emulators.lab.layout import MOST_REPLICAS, Layout
from emulators.lab.processes import ProcessSpec, listens

REDIS: Final = "redis"
_CLAIM_LIFE_S: Final = 3.0
_LEASE_S: Final = 4.0
"""Shorter than an installation's, so that one sees a takeover without waiting for it."""


def name_of(replica: int) -> str:
    """Of the process and its settings; the first has the number 1."""
    return "orchestrator" if replica == 1 else f"orchestrator-{replica}"


def check(replicas: int, *, database_url: str | None, controller: str) -> None:
    """Raises LabError where a laboratory cannot have so many."""
    if replicas == 1:
        return
    if not 1 < replicas <= MOST_REPLICAS:
        raise LabError(
            f"A laboratory has 1 to {MOST_REPLICAS} orchestrators.", next_step="Choose fewer."
        )
    if database_url is None or not database_url.startswith("mysql"):
        raise LabError(
            "Replicas share a MySQL or MariaDB.", next_step="Name an empty one: --database-url."
        )
    if controller != OPENDAYLIGHT:
        raise LabError(
            "Replicas share a controller, and the embedded one is part of one orchestrator.",
            next_step="Use --controller opendaylight.",
        )
    if shutil.which("redis-server") is None:
        raise LabError(
            "Replicas share a jobboard on Redis, and there is no redis-server here.",
            next_step="Install Debian's redis-server.",
        )


def settings_of(replica: int, first: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """A replica's settings: those of an orchestrator alone, and what is its own or shared."""
    document = deepcopy(first)
    document["port"] = layout.ports["rest" if replica == 1 else f"rest-{replica}"]
    document["workflow_database_url"] = document["database_url"]
    document["schedule"].setdefault("lease_s", _LEASE_S)
    document["replicas"] = {
        "name": f"replica-{replica}",
        "board": "redis",
        "options": {"host": "127.0.0.1", "port": layout.ports[REDIS]},
        "claim_life_s": _CLAIM_LIFE_S,
    }
    return document


def redis(layout: Layout) -> ProcessSpec:
    """It keeps nothing: what is on the board follows from the database."""
    port = layout.ports[REDIS]
    program = shutil.which("redis-server") or "redis-server"
    command = (
        *(program, "--bind", "127.0.0.1", "--port", str(port)),
        *("--save", "", "--appendonly", "no"),
    )
    return ProcessSpec(REDIS, command, lambda: listens(port))
