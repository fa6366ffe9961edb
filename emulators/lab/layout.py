"""Where everything of one laboratory is: folders, addresses, ports. Decided once, then kept."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from emulators.lab.errors import LabError

TOPOLOGY_FILE = Path(__file__).parent / "topology.toml"
BOBS = (1, 2, 3)
_PORTS_FILE = "ports.json"


@dataclass(frozen=True)
class Layout:
    """One laboratory's folder and ports. Units have loopback addresses of their own, since the
    port of their key servers (5323) is fixed."""

    folder: Path
    ports: dict[str, int]

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a laboratory was laid out in this folder."""
        return (folder / _PORTS_FILE).is_file()

    @classmethod
    def of(cls, folder: Path) -> Layout:
        """The layout of the laboratory in `folder`; free ports are chosen the first time."""
        folder = folder.resolve()
        file = folder / _PORTS_FILE
        if file.exists():
            return cls(folder, json.loads(file.read_text()))
        names = ["rest", "controller", "plant", "agent-alice"]
        for bob in BOBS:
            names += [f"agent-bob-{bob}"]
            names += [f"{part}-dc-{bob}" for part in ("gateway", "intake", "relay")]
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(ports, indent=2))
        return cls(folder, ports)

    def unit_address(self, unit: str) -> str:
        """A loopback address for `alice` or `bob-N`, apart from other laboratories'."""
        a, b = hashlib.sha256(str(self.folder).encode()).digest()[:2]
        host = 11 if unit == "alice" else 11 + int(unit.removeprefix("bob-"))
        return f"127.{a % 250 + 1}.{b}.{host}"

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['rest']}"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    def settings(self, service: str) -> Path:
        return self.folder / "settings" / f"{service}.toml"


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
