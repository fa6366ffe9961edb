"""Who programs the laboratory's switch: the embedded controller, or a real OpenDaylight."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from emulators.lab.errors import LabError
from emulators.lab.layout import Layout
from emulators.lab.opendaylight import CONTROLLER, READY_S, InstanceSettings, is_ready
from emulators.lab.plans import CENTRE
from emulators.lab.processes import ProcessSpec, listens, serve
from orchestrator.access import load_or_make_token
from sdn_client.topology import load_topology
from trust import Credentials, Identity, Role

EMBEDDED: Final = "embedded"
OPENDAYLIGHT: Final = "opendaylight"
_USER: Final = "qnfv"
_ORCHESTRATOR: Final = Identity(Role.ORCHESTRATOR, CENTRE)
_OPTICAL_AGENT: Final = Identity(Role.OPTICAL_AGENT, "optical-agent")


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


def embedded(layout: Layout, _topology: Path, _tls_key_log: Path | None) -> Controller:
    """The orchestrator speaks CFLOW_MOD to the switch itself."""
    port = layout.ports["controller"]
    return Controller(
        "openflow",
        {"listen_port": port},
        port,
        "An embedded circuit controller stands in for OpenDaylight.",
    )


def opendaylight(layout: Layout, topology: Path, tls_key_log: Path | None) -> Controller:
    """The product's path: OpenDaylight, and the optical agent between it and the switch."""
    ports, folder = layout.ports, layout.folder
    own, ours = layout.credentials(CONTROLLER), layout.credentials(_ORCHESTRATOR)
    # Capture mode reads OpenFlow on the wire. Java writes no session keys, so there it stays plain.
    openflow_tls = tls_key_log is None
    password_file = folder / "opendaylight" / "password"
    load_or_make_token(password_file)
    command = (
        sys.executable, "-m", "emulators.lab.opendaylight",
        "--state-dir", str(folder / "opendaylight"),
        "--restconf", f"127.0.0.1:{ports['restconf']}",
        "--openflow", f"127.0.0.1:{ports['openflow']}",
        "--cluster", f"127.0.0.1:{ports['cluster']}",
        "--password-file", str(password_file),
        "--certificate", own["certificate"], "--key", own["key"], "--authority", own["authority"],
        *(("--openflow-tls",) if openflow_tls else ()),
    )  # fmt: skip
    settings = InstanceSettings(
        restconf=("127.0.0.1", ports["restconf"]),
        openflow=("127.0.0.1", ports["openflow"]),
        username=_USER,
        password_file=password_file,
        credentials=Credentials.in_folder(layout.pki, _ORCHESTRATOR),
        openflow_tls=openflow_tls,
    )
    chassis = load_topology(topology if topology.exists() else layout.plan.topology_file).chassis
    return Controller(
        "opendaylight",
        {
            "url": f"https://127.0.0.1:{ports['restconf']}",
            "username": _USER,
            "password_file": str(password_file),
            "ca_file": own["authority"],
            "certificate_file": ours["certificate"],
            "key_file": ours["key"],
            "server_name": CONTROLLER.dns_name,
            **({} if tls_key_log is None else {"tls_key_log": str(tls_key_log)}),
        },
        ports["controller"],
        "A real OpenDaylight and the optical agent program the switch.",
        settings={
            "optical-agent": {
                "name": "optical-agent",
                "topology_file": str(topology),
                "chassis": chassis[0].name,
                "controller": {
                    "host": "127.0.0.1",
                    "port": ports["openflow"],
                    **({"tls": _agent_tls(layout)} if openflow_tls else {}),
                },
                "device": {
                    "driver": "cflow_mod",
                    "options": {"listen_port": ports["controller"]},
                },
            }
        },
        processes=(
            ProcessSpec(
                OPENDAYLIGHT,
                command,
                lambda: is_ready(settings),
                own_log=folder / "opendaylight" / "data" / "log" / "karaf.log",
            ),
            ProcessSpec(
                "optical-agent",
                serve("optical-agent", layout.settings("optical-agent")),
                lambda: listens(ports["controller"]),
            ),
        ),
        identities=(CONTROLLER, _OPTICAL_AGENT),
        ready_s=READY_S,
    )


def _agent_tls(layout: Layout) -> dict[str, Any]:
    """The optical agent's table `controller.tls`."""
    return {
        "server_name": CONTROLLER.dns_name,
        "credentials": layout.credentials(_OPTICAL_AGENT),
    }


Make = Callable[[Layout, Path, Path | None], Controller]
_KNOWN: Final[Mapping[str, Make]] = {
    EMBEDDED: embedded,
    OPENDAYLIGHT: opendaylight,
}


def find(name: str) -> Make:
    """What makes the controller of this name. Raises LabError."""
    if name not in _KNOWN:
        raise LabError(
            f"There is no controller {name!r} for a laboratory.",
            next_step=f"Use one of {', '.join(_KNOWN)}.",
        )
    return _KNOWN[name]
