"""Where everything of one cloud lies, on which ports it listens, and its passwords."""

from __future__ import annotations

import json
import secrets
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

Hypervisor = Literal["fake", "qemu"]
HYPERVISORS: tuple[Hypervisor, ...] = get_args(Hypervisor)
HOST = "127.0.0.1"
REGION = "lab"
SERVICE_USERS = ("glance", "neutron", "nova", "placement")
_PORTS = range(20_000, 32_000)
"""Below the range from which outgoing connections take theirs."""


@dataclass(frozen=True)
class Ports:
    keystone: int
    glance: int
    placement: int
    nova: int
    neutron: int
    mariadb: int
    rabbitmq: int
    rabbitmq_distribution: int
    epmd: int


class CloudLayout:
    """One state folder. Ports and passwords are chosen once and kept in it."""

    def __init__(self, folder: Path, *, hypervisor: Hypervisor) -> None:
        self.folder = folder.resolve()
        self.hypervisor = hypervisor
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.ports = self._kept_ports()

    def _kept_ports(self) -> Ports:
        file = self.folder / "ports.json"
        if not file.exists():
            names = [field.name for field in fields(Ports)]
            chosen = dict(zip(names, _free_ports(len(names)), strict=True))
            file.write_text(json.dumps(asdict(Ports(**chosen)), indent=1))
        return Ports(**json.loads(file.read_text()))

    def password(self, user: str) -> str:
        """The password of this user; made at first, kept in a file of mode 0600."""
        file = self.folder / "passwords" / user
        if not file.exists():
            write_secret(file, secrets.token_urlsafe(24))
        return file.read_text()

    def url(self, service: str) -> str:
        path = {"keystone": "/v3", "nova": "/v2.1"}.get(service, "")
        return f"http://{HOST}:{getattr(self.ports, service)}{path}"

    def etc(self, service: str) -> Path:
        return self.folder / "etc" / service

    def data(self, service: str) -> Path:
        return self.folder / "data" / service

    @property
    def clouds_file(self) -> Path:
        """What clients of openstacksdk read; it holds passwords."""
        return self.folder / "clouds.yaml"


def write_secret(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _free_ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            found.add(port)
    return list(found)
