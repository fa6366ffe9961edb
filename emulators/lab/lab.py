"""The laboratory as a whole: settings for every service, then processes with real sockets.

node 1       orchestrator, Alice with her agent
nodes 2-4    slave stacks dc-1 to dc-3, each with a Bob and his agent
between      a Polatis switch, and the fibre plant that carries light and classical bytes
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import tomlkit

from emulators.lab.errors import LabRunningError
from emulators.lab.layout import BOBS, TOPOLOGY_FILE, Layout
from emulators.lab.processes import LabProcess, ProcessSpec
from orchestrator.access import load_or_make_token
from sdn_client.topology import load_topology
from trust import Authority, Credentials, Identity, Role
from trust.client import open_client

_READY_S = 60.0
_SUPERVISOR_GRACE_S = 90.0
"""It ends everything in order first, perhaps while one process is still starting."""
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class LabOptions:
    """What can be chosen. Durations are seconds of QKD time."""

    time_scale: float = 1000.0
    vim: str = "emulated"
    slot_s: float = 600.0
    pool_target_keys: int = 64
    key_capacity: int = 1024
    schedule_enabled: bool = True
    database_url: str | None = None
    seed: int | None = None
    overrides: tuple[tuple[str, str, Any], ...] = ()
    """Further settings for tests: (service, dotted key, value)."""


class Lab:
    """One laboratory in one folder."""

    def __init__(self, folder: Path, options: LabOptions | None = None) -> None:
        self.layout = Layout.of(folder)
        self.options = options or LabOptions()
        self.topology_file = self.layout.folder / "topology.toml"
        self.processes = {spec.name: LabProcess(spec, self.layout.folder) for spec in self._specs()}
        self._supervisor = LabProcess(
            ProcessSpec("supervisor", (), lambda: True), self.layout.folder
        )

    # --- life -------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Write certificates, token, topology and settings; what is there already stays."""
        folder = self.layout.folder
        (folder / "settings").mkdir(parents=True, exist_ok=True)
        if not self.topology_file.exists():
            self.topology_file.write_text(TOPOLOGY_FILE.read_text())
        self._certificates()
        load_or_make_token(self.layout.token_file)
        for service, document in self._settings().items():
            self.layout.settings(service).write_text(tomlkit.dumps(document))
        (folder / "client.toml").write_text(
            tomlkit.dumps({"url": self.layout.rest_url, "token_file": str(self.layout.token_file)})
        )

    def supervise(self) -> None:
        """This process will keep the laboratory up: `down`, wherever it is called, ends it first.

        Raises LabRunningError, before anything was touched.
        """
        self._refuse_if_running()
        self._supervisor.be_this_process()

    def _refuse_if_running(self) -> None:
        running = [name for name, process in self.processes.items() if process.pid is not None]
        if self._supervisor.pid not in (None, os.getpid()):
            running.append("supervisor")
        if running:
            raise LabRunningError(
                f"A laboratory runs from {self.layout.folder} ({', '.join(running)}).",
                next_step="Stop it with `qnfv lab down`, or use another --state-dir.",
            )

    def up(self, on_ready: Callable[[str], None] = lambda _: None) -> None:
        """Start every process and wait until all are ready. Raises ProcessFailedError."""
        self._refuse_if_running()
        self.prepare()
        for process in self.processes.values():
            process.start()
        for name, process in self.processes.items():
            process.wait_ready(_READY_S)
            on_ready(name)

    def down(self) -> None:
        """Stop every process; the orchestrator first, so that it ends its turn in order.

        A supervisor in another terminal is ended before all: it would start them again.
        """
        if self._supervisor.pid not in (None, os.getpid()):
            self._supervisor.terminate()
            self._supervisor.await_end(_SUPERVISOR_GRACE_S)
        order = sorted(self.processes, key=lambda name: name != "orchestrator")
        for name in order:
            process = self.processes[name]
            process.terminate()
            if name == "orchestrator":
                process.await_end()
        for process in self.processes.values():
            process.await_end()
        self._supervisor.forget()

    def restart(self, name: str) -> None:
        """Start a process again after its end."""
        process = self.processes[name]
        process.start()
        process.wait_ready(_READY_S)

    # --- what is written --------------------------------------------------------------------------

    def _certificates(self) -> None:
        pki = self.layout.pki
        made = (pki / "authority.key").exists()
        authority = Authority(pki) if made else Authority.create(pki)
        for identity in self._identities():
            # The certificate is written last, so where it is, its key is too.
            if not Credentials.in_folder(pki, identity).certificate.exists():
                authority.issue(identity)

    @staticmethod
    def _identities() -> list[Identity]:
        units = ["alice", *(f"bob-{bob}" for bob in BOBS)]
        return [
            Identity(Role.ORCHESTRATOR, "central"),
            *(Identity(Role.UNIT_AGENT, unit) for unit in units),
            *(Identity(Role.SLAVE, f"dc-{bob}") for bob in BOBS),
        ]

    def _credentials(self, role: Role, name: str) -> dict[str, str]:
        files = Credentials.in_folder(self.layout.pki, Identity(role, name))
        return {
            "certificate": str(files.certificate),
            "key": str(files.key),
            "authority": str(files.authority),
        }

    def _settings(self) -> dict[str, dict[str, Any]]:
        documents = {"orchestrator": self._orchestrator_settings()}
        documents["agent-alice"] = self._agent_settings("alice")
        for bob in BOBS:
            documents[f"agent-bob-{bob}"] = self._agent_settings(f"bob-{bob}")
            documents[f"dc-{bob}"] = self._slave_settings(bob)
        for service, key, value in self.options.overrides:
            table = documents[service]
            *parents, last = key.split(".")
            for parent in parents:
                table = table.setdefault(parent, {})
            table[last] = value
        return documents

    def _orchestrator_settings(self) -> dict[str, Any]:
        layout, ports, options = self.layout, self.layout.ports, self.options
        state = layout.folder / "orchestrator"
        return {
            "name": "central",
            "port": ports["rest"],
            "token_file": str(layout.token_file),
            "credentials": self._credentials(Role.ORCHESTRATOR, "central"),
            "database_url": options.database_url or f"sqlite:///{state / 'orchestrator.sqlite'}",
            "state_dir": str(state),
            "topology_file": str(self.topology_file),
            "node": "node-1",
            "key_capacity": options.key_capacity,
            "time_scale": options.time_scale,
            "controller": {
                "driver": "openflow",
                "options": {"listen_port": ports["controller"]},
            },
            "alice": {
                "name": "alice",
                "unit_agent_url": f"https://127.0.0.1:{ports['agent-alice']}",
                "unit_agent_name": "alice",
                "source_options": {"address": layout.unit_address("alice"), "emulated": True},
            },
            "schedule": {
                "enabled": options.schedule_enabled,
                "slot_s": options.slot_s,
                "pool_target_keys": options.pool_target_keys,
                "look_every_s": _LOOK_EVERY_S * options.time_scale,
            },
            "data_centres": [
                {
                    "name": f"dc-{bob}",
                    "gateway_url": f"https://127.0.0.1:{ports[f'gateway-dc-{bob}']}",
                    "end_point": f"dc-{bob}",
                    "link": f"alice--bob-{bob}",
                    "bob_end_point": f"bob-{bob}",
                    "bob_address": layout.unit_address(f"bob-{bob}"),
                }
                for bob in BOBS
            ],
        }

    def _slave_settings(self, bob: int) -> dict[str, Any]:
        layout, ports = self.layout, self.layout.ports
        name = f"dc-{bob}"
        state = layout.folder / name
        return {
            "name": name,
            "port": ports[f"gateway-{name}"],
            "credentials": self._credentials(Role.SLAVE, name),
            "database_url": f"sqlite:///{state / 'slave.sqlite'}",
            "state_dir": str(state),
            "accept_emulated_keys": True,
            # Bob's store takes a batch more than Alice's, so that hers sets the limit.
            "key_capacity": 2 * self.options.key_capacity,
            # The sender is sent through the fibre plant, so that a cut circuit stops bytes.
            "intake": {
                "port": ports[f"intake-{name}"],
                "advertised_port": ports[f"relay-{name}"],
            },
            "vim": {"driver": self.options.vim},
            "links": [
                {
                    "name": f"alice--bob-{bob}",
                    "unit_agent_url": f"https://127.0.0.1:{ports[f'agent-bob-{bob}']}",
                    "unit_agent_name": f"bob-{bob}",
                    "source_options": {
                        "address": layout.unit_address(f"bob-{bob}"),
                        "emulated": True,
                    },
                }
            ],
        }

    def _agent_settings(self, unit: str) -> dict[str, Any]:
        layout, ports, options = self.layout, self.layout.ports, self.options
        state = layout.folder / unit
        log_dir = state / "log"
        log_dir.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "emulators.clavis2",
            "--fibre-plant", f"127.0.0.1:{ports['plant']}",
            "--end-point", unit,
            "--address", layout.unit_address(unit),
            "--time-scale", f"{options.time_scale:g}",
            "--log-dir", str(log_dir),
        ]  # fmt: skip
        if options.seed is not None:
            command += ["--seed", str(options.seed)]
        # Another data centre's stack has no business with this Bob.
        callers = [] if unit == "alice" else [f"slave:dc-{unit.removeprefix('bob-')}"]
        return {
            "name": unit,
            "role": "alice" if unit == "alice" else "bob",
            "callers": callers,
            "emulated": True,
            "port": ports[f"agent-{unit}"],
            "credentials": self._credentials(Role.UNIT_AGENT, unit),
            "state_dir": str(state),
            "command": [*command, "--", "QKDSequence"],
            "log_file": str(log_dir / "qkdsequence.log"),
            "idq3p_address": layout.unit_address(unit),
            "log_poll_s": 0.02,
        }

    # --- processes --------------------------------------------------------------------------------

    def _specs(self) -> list[ProcessSpec]:
        ports = self.layout.ports
        python = (sys.executable, "-m")
        relays = [
            f"--relay=dc-{bob}=127.0.0.1:{ports[f'relay-dc-{bob}']}"
            f"->127.0.0.1:{ports[f'intake-dc-{bob}']}"
            for bob in BOBS
        ]
        topology = str(self.topology_file)
        plant = f"127.0.0.1:{ports['plant']}"
        specs = [
            ProcessSpec(
                "fibre-plant",
                (*python, "emulators.fibre_plant", "--topology", topology, "--control", plant,
                 *relays),
                lambda: _listens(ports["relay-dc-1"]),
            ),
            ProcessSpec(
                "orchestrator",
                self._serve("orchestrator", "orchestrator"),
                self._orchestrator_is_ready,
            ),
            ProcessSpec(
                "polatis",
                (*python, "emulators.polatis", "--topology", topology, "--chassis",
                 self._chassis(), "--controller", f"127.0.0.1:{ports['controller']}",
                 "--plant", plant),
                self._switch_is_connected,
            ),
        ]  # fmt: skip
        for unit in ("alice", *(f"bob-{bob}" for bob in BOBS)):
            url = f"https://127.0.0.1:{ports[f'agent-{unit}']}"
            identity = Identity(Role.UNIT_AGENT, unit)
            specs.append(
                ProcessSpec(
                    f"agent-{unit}",
                    self._serve("unit-agent", f"agent-{unit}"),
                    partial(self._is_healthy, url, identity),
                )
            )
        for bob in BOBS:
            url = f"https://127.0.0.1:{ports[f'gateway-dc-{bob}']}"
            identity = Identity(Role.SLAVE, f"dc-{bob}")
            specs.append(
                ProcessSpec(
                    f"dc-{bob}",
                    self._serve("slave", f"dc-{bob}"),
                    partial(self._is_healthy, url, identity),
                )
            )
        return specs

    def _serve(self, service: str, settings: str) -> tuple[str, ...]:
        return (
            sys.executable, "-m", "orchestrator.cli.main", "serve", service,
            "--settings", str(self.layout.settings(settings)),
        )  # fmt: skip

    @staticmethod
    def _chassis() -> str:
        return load_topology(TOPOLOGY_FILE).chassis[0].name

    def _health(self) -> dict[str, Any] | None:
        try:
            answer = httpx.get(f"{self.layout.rest_url}/api/v1/health", timeout=2)
        except httpx.TransportError:
            return None
        document: dict[str, Any] | None = answer.json() if answer.is_success else None
        return document

    def _orchestrator_is_ready(self) -> bool:
        return self._health() is not None

    def _switch_is_connected(self) -> bool:
        health = self._health()
        return health is not None and all(health["switches"].values())

    def _is_healthy(self, url: str, identity: Identity) -> bool:
        credentials = Credentials.in_folder(self.layout.pki, Identity(Role.ORCHESTRATOR, "central"))
        try:
            with open_client(url, credentials=credentials, peer=identity, timeout_s=2) as client:
                return client.get("/healthz").is_success
        except (httpx.TransportError, ssl.SSLError):
            return False


def _listens(port: int) -> bool:
    """Whether somebody listens on this port, without connecting to it."""
    wanted = f"{port:04X}"
    with Path("/proc/net/tcp").open() as table:
        for line in table:
            fields = line.split()
            if fields[1].endswith(f":{wanted}") and fields[3] == "0A":
                return True
    return False
