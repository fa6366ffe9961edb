"""Where everything of one laboratory is: folders, addresses, ports. Decided once, then kept."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from emulators.lab.errors import LabError
from emulators.lab.plans import CENTRE, PAPER, LabPlan, plan_named
from trust import Credentials, Identity

MOST_REPLICAS = 3
_PORTS_FILE = "ports.json"
_PLAN_FILE = "plan"
_FIRST_ALICE, _FIRST_BOB, _FIRST_OTHER_ALICE = 11, 11, 101


@dataclass(frozen=True)
class Layout:
    """One laboratory's folder and ports. Units have loopback addresses of their own, since the
    port of their key servers (5323) is fixed."""

    folder: Path
    ports: dict[str, int]
    plan: LabPlan = PAPER

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a laboratory was laid out in this folder."""
        return (folder / _PORTS_FILE).is_file()

    @classmethod
    def of(cls, folder: Path, plan: LabPlan | None = None) -> Layout:
        """The layout of the laboratory in `folder`; free ports are chosen the first time.

        A folder keeps its plan. Raises LabError if it was laid out for another one than `plan`.
        """
        folder = folder.resolve()
        file, plan_file = folder / _PORTS_FILE, folder / _PLAN_FILE
        if file.exists():
            kept = plan_named(plan_file.read_text().strip()) if plan_file.exists() else PAPER
            if plan not in (None, kept):
                raise LabError(
                    f"{folder} holds the laboratory `{kept.name}`.",
                    next_step="Use another --state-dir, or remove that folder.",
                )
            return cls(folder, _with_ports(file, _port_names(kept)), kept)
        plan = plan or PAPER
        folder.mkdir(parents=True, exist_ok=True)
        plan_file.write_text(f"{plan.name}\n")
        return cls(folder, _with_ports(file, _port_names(plan)), plan)

    def unit_address(self, unit: str) -> str:
        """A loopback address for `alice`, `alice-N` or `bob-N`, apart from other laboratories'."""
        a, b = hashlib.sha256(str(self.folder).encode()).digest()[:2]
        role, _, number = unit.partition("-")
        if role == "bob":
            host = _FIRST_BOB + int(number)
        else:
            host = _FIRST_OTHER_ALICE + int(number) if number else _FIRST_ALICE
        return f"127.{a % 250 + 1}.{b}.{host}"

    @property
    def rest_url(self) -> str:
        return self.rest_url_of(1)

    def rest_url_of(self, replica: int) -> str:
        """Where a replica of the orchestrator is asked; the first has the number 1."""
        port = self.ports["rest" if replica == 1 else f"rest-{replica}"]
        return f"http://127.0.0.1:{port}"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    def credentials(self, identity: Identity) -> dict[str, str]:
        """Where a service's certificate lies, as its settings name it."""
        return Credentials.in_folder(self.pki, identity).table

    def settings(self, service: str) -> Path:
        return self.folder / "settings" / f"{service}.toml"


def _port_names(plan: LabPlan) -> list[str]:
    names = ["rest", "controller", "plant", "restconf", "openflow", "cluster", "redis"]
    names += [f"rest-{number}" for number in range(2, MOST_REPLICAS + 1)]
    names += [f"agent-{unit}" for unit in plan.units]
    for site in plan.sites:
        names += [f"{part}-{site.name}" for part in ("gateway", "intake", "relay", "kme")]
    return [*names, f"kme-{CENTRE}"]


def _with_ports(file: Path, names: list[str]) -> dict[str, int]:
    """The ports that `file` keeps; free ones are chosen for names that it has not yet."""
    kept: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    new = [name for name in names if name not in kept]
    if new:
        kept |= dict(zip(new, _free_ports(len(new)), strict=True))
        file.write_text(json.dumps(kept, indent=2))
    return kept


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, below the range that outgoing connections take theirs from."""
    first = 20000 + secrets.randbelow(11000)
    found: list[int] = []
    for port in range(first, 32000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise LabError(
        f"There are not {count} free ports between {first} and 32000 on loopback.",
        next_step="End other laboratories, then try again.",
    )
