"""The laboratory as a whole: settings for every service, then processes with real sockets.

node 1       orchestrator, Alice with her agent
nodes 2-4    slave stacks dc-1 to dc-3, each with a Bob and his agent; in the relay laboratory the
             first two also with an Alice for the next span
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

from emulators.lab import controllers, replicas
from emulators.lab.errors import LabRunningError
from emulators.lab.layout import Layout
from emulators.lab.leash import Leash
from emulators.lab.plans import CENTRE, LabPlan, Site
from emulators.lab.processes import LabProcess, ProcessSpec, listens, serve
from orchestrator.access import load_or_make_token
from sdn_client.topology import load_topology
from trust import Authority, Credentials, Identity, Role
from trust.client import open_client

_SUPERVISOR_GRACE_S = 90.0
"""It ends everything in order first, perhaps while one process is still starting."""
_INSTANCE_LOOK_EVERY_S = 2.0
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
    controller: str | None = None
    """`embedded` or `opendaylight`; by default what the folder had before, else embedded."""
    tls_key_log: Path | None = None
    """Capture mode: every service writes its TLS session keys there."""
    replicas: int | None = None
    """Orchestrators; several need `database_url` and OpenDaylight. By default as many as the folder
    had before, else one."""
    kme: bool = False
    """Start a KME at each end of every direct link, for applications that speak ETSI 014."""
    overrides: tuple[tuple[str, str, Any], ...] = ()
    """Further settings for tests: (service, dotted key, value)."""


class Lab:
    """One laboratory in one folder."""

    def __init__(
        self, folder: Path, options: LabOptions | None = None, plan: LabPlan | None = None
    ) -> None:
        self.layout = Layout.of(folder, plan)
        self.plan = self.layout.plan
        self.options = options or LabOptions()
        self.topology_file = self.layout.folder / "topology.toml"
        self._controller_file = self.layout.folder / "controller"
        self._replicas_file = self.layout.folder / "replicas"
        self.replicas = self.options.replicas or self._kept_replicas()
        self.controller_name = self.options.controller or self._kept_controller()
        self.controller = controllers.find(self.controller_name)(
            self.layout, self.topology_file, self.options.tls_key_log
        )
        self._leash = Leash()
        self.processes = {
            spec.name: LabProcess(spec, self.layout.folder, self._leash) for spec in self._specs()
        }
        self._supervisor = LabProcess(
            ProcessSpec("supervisor", (), lambda: True), self.layout.folder
        )

    # --- life -------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Write certificates, token, topology and settings; what is there already stays."""
        replicas.check(
            self.replicas,
            database_url=self.options.database_url,
            controller=self.controller_name,
        )
        folder = self.layout.folder
        (folder / "settings").mkdir(parents=True, exist_ok=True)
        if not self.topology_file.exists():
            self.topology_file.write_text(self.plan.topology_file.read_text())
        self._certificates()
        load_or_make_token(self.layout.token_file)
        self._controller_file.write_text(f"{self.controller_name}\n")
        self._replicas_file.write_text(f"{self.replicas}\n")
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
            process.wait_ready(self.controller.ready_s)
            on_ready(name)

    def down(self) -> None:
        """Stop every process; the orchestrator first, so that it ends its turn in order.

        A supervisor in another terminal is ended before all: it would start them again.
        """
        if self._supervisor.pid not in (None, os.getpid()):
            self._supervisor.terminate()
            self._supervisor.await_end(_SUPERVISOR_GRACE_S)
        first = [name for name in self.processes if name in self.orchestrators]
        for name in first:
            self.processes[name].terminate()
        for name in first:
            self.processes[name].await_end()
        for name, process in self.processes.items():
            if name not in first:
                process.terminate()
        for process in self.processes.values():
            process.await_end()
        self._leash.let_go()
        self._supervisor.forget()

    def restart(self, name: str) -> None:
        """Start a process again after its end."""
        process = self.processes[name]
        process.start()
        process.wait_ready(self.controller.ready_s)

    @property
    def orchestrators(self) -> list[str]:
        """The processes of all replicas, the first one first."""
        return [replicas.name_of(number) for number in range(1, self.replicas + 1)]

    @property
    def network_processes(self) -> list[str]:
        """What the optical network alone needs: glass, switch, controller, orchestrator."""
        own = [spec.name for spec in self.controller.processes]
        return ["fibre-plant", *own, "orchestrator", "polatis"]

    def _kept_controller(self) -> str:
        kept = self._controller_file
        return kept.read_text().strip() if kept.exists() else controllers.EMBEDDED

    def _kept_replicas(self) -> int:
        kept = self._replicas_file
        return int(kept.read_text()) if kept.exists() else 1

    # --- what is written --------------------------------------------------------------------------

    def _certificates(self) -> None:
        pki = self.layout.pki
        made = (pki / "authority.key").exists()
        authority = Authority(pki) if made else Authority.create(pki)
        for identity in self._identities():
            # The certificate is written last, so where it is, its key is too.
            if not Credentials.in_folder(pki, identity).certificate.exists():
                authority.issue(identity)

    def _identities(self) -> list[Identity]:
        return [
            Identity(Role.ORCHESTRATOR, CENTRE),
            *(Identity(Role.UNIT_AGENT, unit) for unit in self.plan.units),
            *(Identity(Role.SLAVE, site.name) for site in self.plan.sites),
            *self.controller.identities,
            *(Identity(Role.KME, name) for name in self._kmes()),
            *(Identity(Role.SAE, f"app-{place}") for place in self._kme_places()),
        ]

    # --- KMEs -------------------------------------------------------------------------------------

    def _direct_sites(self) -> list[Site]:
        return [site for site in self.plan.sites if site.behind is None]

    def _kme_places(self) -> list[str]:
        """Where a KME stands: at the centre, and where a direct link ends."""
        return [CENTRE, *(site.name for site in self._direct_sites())] if self.options.kme else []

    def _kmes(self) -> list[str]:
        return [f"kme-{place}" for place in self._kme_places()]

    def _kme_settings(self, place: str) -> dict[str, Any]:
        """A KME beside the stack that fills its store. One application is attached to each."""
        layout, sites = self.layout, self._direct_sites()
        at_centre = place == CENTRE
        state = layout.folder / ("orchestrator" if at_centre else place)
        database = state / ("orchestrator.sqlite" if at_centre else "slave.sqlite")
        others = [site.name for site in sites] if at_centre else [CENTRE]
        links = sites if at_centre else [site for site in sites if site.name == place]
        return {
            "name": f"kme-{place}",
            "port": layout.ports[f"kme-{place}"],
            "credentials": self._credentials(Role.KME, f"kme-{place}"),
            "database_url": (self.options.database_url if at_centre else None)
            or f"sqlite:///{database}",
            "state_dir": str(state),
            "accept_emulated_keys": True,
            "saes": [{"id": f"app-{place}"}],
            "remote_saes": [{"id": f"app-{name}", "kme": f"kme-{name}"} for name in others],
            "links": [
                {
                    "name": site.link,
                    "role": "alice" if at_centre else "bob",
                    "peer": f"kme-{site.name if at_centre else CENTRE}",
                    "peer_url": "https://127.0.0.1:"
                    f"{layout.ports[f'kme-{site.name if at_centre else CENTRE}']}",
                }
                for site in links
            ],
        }

    def _credentials(self, role: Role, name: str) -> dict[str, str]:
        return self.layout.credentials(Identity(role, name))

    def _settings(self) -> dict[str, dict[str, Any]]:
        documents = {"orchestrator": self._orchestrator_settings(), **self.controller.settings}
        for unit in self.plan.units:
            documents[f"agent-{unit}"] = self._agent_settings(unit)
        for site in self.plan.sites:
            documents[site.name] = self._slave_settings(site)
        for place in self._kme_places():
            documents[f"kme-{place}"] = self._kme_settings(place)
        for service, key, value in self.options.overrides:
            table = documents[service]
            *parents, last = key.split(".")
            for parent in parents:
                table = table.setdefault(parent, {})
            table[last] = value
        if self.replicas > 1:
            first = documents["orchestrator"]
            for number, name in enumerate(self.orchestrators, start=1):
                documents[name] = replicas.settings_of(number, first, self.layout)
        if self.options.tls_key_log is not None:
            for document in documents.values():
                if "credentials" in document:
                    document["credentials"]["tls_key_log"] = str(self.options.tls_key_log)
        return documents

    def _orchestrator_settings(self) -> dict[str, Any]:
        layout, ports, options = self.layout, self.layout.ports, self.options
        state = layout.folder / "orchestrator"
        return {
            "name": CENTRE,
            "port": ports["rest"],
            "token_file": str(layout.token_file),
            "credentials": self._credentials(Role.ORCHESTRATOR, CENTRE),
            "database_url": options.database_url or f"sqlite:///{state / 'orchestrator.sqlite'}",
            "state_dir": str(state),
            "topology_file": str(self.topology_file),
            "node": "node-1",
            "key_capacity": options.key_capacity,
            "time_scale": options.time_scale,
            "instance_look_every_s": _INSTANCE_LOOK_EVERY_S,
            "notifications": {"allowed_callbacks": ["http://127.0.0.1"]},
            "controller": {
                "driver": self.controller.driver,
                "options": self.controller.options,
            },
            **self._alice_settings(),
            "schedule": {
                "enabled": options.schedule_enabled,
                "slot_s": options.slot_s,
                "pool_target_keys": options.pool_target_keys,
                "look_every_s": _LOOK_EVERY_S * options.time_scale,
            },
            "data_centres": [self._data_centre_settings(site) for site in self.plan.sites],
            "hop_links": [
                {
                    "name": site.link,
                    "alice_end_point": site.alice,
                    "from_data_centre": site.behind,
                    "to_data_centre": site.name,
                    "bob_end_point": site.bob,
                }
                for site in self.plan.sites
                if site.behind is not None
            ],
        }

    def _alice_settings(self) -> dict[str, Any]:
        """The Alices at the centre; those of trusted nodes are told to their data centres."""
        tables = [
            {
                "name": alice,
                "unit_agent_url": f"https://127.0.0.1:{self.layout.ports[f'agent-{alice}']}",
                "unit_agent_name": alice,
                "source_options": {"address": self.layout.unit_address(alice), "emulated": True},
            }
            for alice in self.plan.alices
            if self.plan.place_of(alice) is None
        ]
        return {"alice": tables[0]} if len(tables) == 1 else {"alices": tables}

    def _data_centre_settings(self, site: Site) -> dict[str, Any]:
        document = {
            "name": site.name,
            "gateway_url": f"https://127.0.0.1:{self.layout.ports[f'gateway-{site.name}']}",
            "end_point": site.name,
            "link": site.key_link,
        }
        if site.behind is None:
            document |= {
                "bob_end_point": site.bob,
                "bob_address": self.layout.unit_address(site.bob),
            }
        return document

    def _slave_settings(self, site: Site) -> dict[str, Any]:
        layout, ports = self.layout, self.layout.ports
        name = site.name
        state = layout.folder / name
        return {
            "name": name,
            "port": ports[f"gateway-{name}"],
            "credentials": self._credentials(Role.SLAVE, name),
            "database_url": f"sqlite:///{state / 'slave.sqlite'}",
            "state_dir": str(state),
            "accept_emulated_keys": True,
            "relayed_links": [] if site.behind is None else [site.key_link],
            # Bob's store takes a batch more than Alice's, so that hers sets the limit.
            "key_capacity": 2 * self.options.key_capacity,
            # The sender is sent through the fibre plant, so that a cut circuit stops bytes.
            "intake": {
                "port": ports[f"intake-{name}"],
                "advertised_port": ports[f"relay-{name}"],
            },
            "vim": {"driver": self.options.vim},
            "links": [
                self._link_settings(site.link, site.bob),
                *(
                    self._link_settings(onward.link, onward.alice)
                    | {"role": "alice", "bob_address": layout.unit_address(onward.bob)}
                    for onward in self.plan.onward(name)
                ),
            ],
        }

    def _link_settings(self, link: str, unit: str) -> dict[str, Any]:
        """A link as the data centre sees it where `unit` stands."""
        return {
            "name": link,
            "unit_agent_url": f"https://127.0.0.1:{self.layout.ports[f'agent-{unit}']}",
            "unit_agent_name": unit,
            "source_options": {"address": self.layout.unit_address(unit), "emulated": True},
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
        # Another data centre's stack has no business with this unit.
        place = self.plan.place_of(unit)
        callers = [] if place is None else [f"slave:{place}"]
        return {
            "name": unit,
            "role": "alice" if unit in self.plan.alices else "bob",
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
            f"--relay={site.name}=127.0.0.1:{ports[f'relay-{site.name}']}"
            f"->127.0.0.1:{ports[f'intake-{site.name}']}"
            for site in self.plan.sites
        ]
        topology = str(self.topology_file)
        plant = f"127.0.0.1:{ports['plant']}"
        specs = [
            ProcessSpec(
                "fibre-plant",
                (*python, "emulators.fibre_plant", "--topology", topology, "--control", plant,
                 *relays),
                lambda: listens(ports[f"relay-{self.plan.sites[0].name}"]),
            ),
            *self.controller.processes,
            *([replicas.redis(self.layout)] if self.replicas > 1 else []),
            *(
                ProcessSpec(
                    name,
                    self._serve("orchestrator", name),
                    partial(self._orchestrator_is_ready, number),
                )
                for number, name in enumerate(self.orchestrators, start=1)
            ),
            ProcessSpec(
                "polatis",
                (*python, "emulators.polatis", "--topology", topology, "--chassis",
                 self._chassis(), "--controller", f"127.0.0.1:{self.controller.switch_port}",
                 "--plant", plant),
                self._switch_is_connected,
            ),
        ]  # fmt: skip
        for unit in self.plan.units:
            url = f"https://127.0.0.1:{ports[f'agent-{unit}']}"
            identity = Identity(Role.UNIT_AGENT, unit)
            specs.append(
                ProcessSpec(
                    f"agent-{unit}",
                    self._serve("unit-agent", f"agent-{unit}"),
                    partial(self._is_healthy, url, identity),
                )
            )
        for site in self.plan.sites:
            url = f"https://127.0.0.1:{ports[f'gateway-{site.name}']}"
            identity = Identity(Role.SLAVE, site.name)
            specs.append(
                ProcessSpec(
                    site.name,
                    self._serve("slave", site.name),
                    partial(self._is_healthy, url, identity),
                )
            )
        for kme in self._kmes():
            url = f"https://127.0.0.1:{ports[kme]}"
            identity = Identity(Role.KME, kme)
            specs.append(
                ProcessSpec(kme, self._serve("kme", kme), partial(self._is_healthy, url, identity))
            )
        return specs

    def _serve(self, service: str, settings: str) -> tuple[str, ...]:
        return serve(service, self.layout.settings(settings))

    def _chassis(self) -> str:
        return load_topology(self.plan.topology_file).chassis[0].name

    def _health(self, replica: int = 1) -> dict[str, Any] | None:
        url = self.layout.rest_url_of(replica)
        try:
            answer = httpx.get(f"{url}/api/v1/health", timeout=2)
        except httpx.TransportError:
            return None
        document: dict[str, Any] | None = answer.json() if answer.is_success else None
        return document

    def _orchestrator_is_ready(self, replica: int) -> bool:
        return self._health(replica) is not None

    def _switch_is_connected(self) -> bool:
        health = self._health()
        return health is not None and all(health["switches"].values())

    def _is_healthy(self, url: str, identity: Identity) -> bool:
        credentials = Credentials.in_folder(self.layout.pki, Identity(Role.ORCHESTRATOR, CENTRE))
        try:
            with open_client(url, credentials=credentials, peer=identity, timeout_s=2) as client:
                return client.get("/healthz").is_success
        except (httpx.TransportError, ssl.SSLError):
            return False
