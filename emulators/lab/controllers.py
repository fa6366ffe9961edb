"""Who programs the laboratory's switch: the embedded controller, or a real OpenDaylight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from emulators.lab.errors import LabError
from emulators.lab.layout import Layout
from emulators.lab.processes import ProcessSpec
from trust import Identity

EMBEDDED: Final = "embedded"
OPENDAYLIGHT: Final = "opendaylight"
_OPENDAYLIGHT_READY_S: Final = 240.0
"""Its first start resolves some hundred bundles, on two cores perhaps beside a build."""


@dataclass(frozen=True)
class Controller:
    """What a laboratory needs to know of its controller."""

    driver: str
    options: dict[str, Any]
    """Of the orchestrator's driver."""
    switch_port: int
    """Where the switch connects to."""
    note: str
    """What a person is told."""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of further services, by name."""
    processes: tuple[ProcessSpec, ...] = ()
    identities: tuple[Identity, ...] = ()
    """Who needs a certificate."""
    ready_s: float = 60.0
    """How long the laboratory may take to be ready."""


def embedded(layout: Layout, topology: Path) -> Controller:
    """The orchestrator speaks CFLOW_MOD to the switch itself."""
    del topology
    port = layout.ports["controller"]
    return Controller(
        "openflow",
        {"listen_port": port},
        port,
        "An embedded circuit controller stands in for OpenDaylight.",
    )


_KNOWN: Final[Mapping[str, Callable[[Layout, Path], Controller]]] = {
    EMBEDDED: embedded,
}


def find(name: str) -> Callable[[Layout, Path], Controller]:
    """What makes the controller of this name. Raises LabError."""
    if name not in _KNOWN:
        raise LabError(
            f"There is no controller {name!r} for a laboratory.",
            next_step=f"Use one of {', '.join(_KNOWN)}.",
        )
    return _KNOWN[name]
