"""Writes what the compose lab's containers are given: settings, certificates, secrets, topology.

    prepare.py FOLDER

What is in FOLDER already stays, settings excepted, so that a lab that runs keeps its identity.
FOLDER is closed to other users; the files in it are readable, because each container runs under a
user that this machine does not know, and is handed its own files alone. `FOLDER/env` holds the
variables that docker-compose.yml needs.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import socket
import stat
import sys
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import tomlkit

from emulators.lab.plans import PAPER
from orchestrator.access import load_or_make_token
from problem_details import ProblemError
from trust import Authority, Identity, Role

_TIME_SCALE = 1000.0
_KEY_CAPACITY = 1024
_STATE = "/var/lib/qnfv"
_GATEWAY_PORT, _INTAKE_PORT, _FIRST_RELAY_PORT = 8443, 7100, 7101
_AGENT_PORT = 8443
_RESTCONF_PORT, _OPENFLOW_PORT, _CFLOW_MOD_PORT = 8443, 6653, 6653
_OPENDAYLIGHT_USER = "qnfv"
_FIRST_REST_PORT, _REST_PORTS = 8080, 50
# Host numbers inside the subnets of docker-compose.yml.
_ALICE = 11
_BOBS = {1: (27, 76), 2: (43, 77), 3: (59, 78)}
"""Of each Bob: on his node's network, and on the vendor's classical channel."""
_CREDENTIALS = {
    "certificate": "/etc/qnfv/certificate.pem",
    "key": "/run/secrets/key.pem",
    "authority": "/etc/qnfv/authority.pem",
    "revocations": "/etc/qnfv/revoked.pem",
}
_KEEPS_ITS_LIST = _CREDENTIALS | {"revocations": f"{_STATE}/revoked.pem"}
"""Of who is brought newer lists: /etc/qnfv cannot be written from inside."""
_IDENTITIES = {
    "orchestrator": Identity(Role.ORCHESTRATOR, "central"),
    "opendaylight": Identity(Role.CONTROLLER, "opendaylight"),
    "optical-agent": Identity(Role.OPTICAL_AGENT, "optical-agent"),
    "alice": Identity(Role.UNIT_AGENT, "alice"),
    **{f"bob-{n}": Identity(Role.UNIT_AGENT, f"bob-{n}") for n in _BOBS},
    **{f"dc-{n}": Identity(Role.SLAVE, f"dc-{n}") for n in _BOBS},
}


class PrepareError(ProblemError):
    """The compose lab's files cannot be written."""

    slug = "compose-lab"
    title = "The compose lab cannot be prepared"


def prepare(folder: Path, socket_file: Path, vim_owner: str) -> None:
    """Write everything into `folder`. Raises PrepareError, and OSError for a bad folder.

    `vim_owner`-dc-N is the name under which dc-N owns images and containers on the engine: another
    lab that uses the same engine may have a dc-N too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    env = _variables(folder, socket_file)
    subnet = env["QNFV_SUBNET"]
    documents = {
        "orchestrator": _orchestrator_settings(subnet),
        "optical-agent": _optical_agent_settings(),
        "alice": _agent_settings("alice", f"{subnet}.{_ALICE}", []),
    }
    for number, (address, _) in _BOBS.items():
        caller = f"slave:dc-{number}"
        documents |= {
            f"dc-{number}": _slave_settings(subnet, number, f"{vim_owner}-dc-{number}"),
            f"bob-{number}": _agent_settings(f"bob-{number}", f"{subnet}.{address}", [caller]),
        }
    for service, document in documents.items():
        place = folder / "settings" / service
        place.mkdir(parents=True, exist_ok=True)
        (place / "settings.toml").write_text(tomlkit.dumps(document))
    for service in ("orchestrator", "optical-agent", "glass"):
        place = folder / "settings" / service
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PAPER.topology_file, place / "topology.toml")
    _write_secrets(folder / "secrets")
    _write_certificates(folder)
    for file in (*(folder / "settings").rglob("*"), *(folder / "secrets").iterdir()):
        file.chmod(0o755 if file.is_dir() else 0o444 if _is_secret(file) else 0o644)
    (folder / "env").write_text("".join(f"{name}={value}\n" for name, value in env.items()))


def _is_secret(file: Path) -> bool:
    return file.parent.name == "secrets"


# --- variables ------------------------------------------------------------------------------------


def _variables(folder: Path, socket_file: Path) -> dict[str, str]:
    """The variables of docker-compose.yml; those of an earlier run stay where they can."""
    file = folder / "env"
    lines = file.read_text().splitlines() if file.exists() else []
    kept = dict(line.split("=", 1) for line in lines)
    try:
        found = socket_file.stat()
    except OSError as error:
        raise PrepareError(
            f"There is no engine socket at {socket_file}.",
            next_step="Start the engine, or name its socket in QNFV_DOCKER_SOCKET.",
        ) from error
    if not stat.S_ISSOCK(found.st_mode):
        raise PrepareError(
            f"{socket_file} is no socket.", next_step="Name the engine's in QNFV_DOCKER_SOCKET."
        )
    given = os.environ.get
    return {
        "QNFV_FILES": str(folder.resolve()),
        "QNFV_SUBNET": given("QNFV_SUBNET") or kept.get("QNFV_SUBNET") or _free_subnet(),
        "QNFV_REST_PORT": given("QNFV_REST_PORT") or kept.get("QNFV_REST_PORT") or _free_port(),
        "QNFV_DOCKER_SOCKET": str(socket_file),
        "QNFV_DOCKER_GID": str(found.st_gid),
    }


def _free_subnet() -> str:
    """The first three numbers of a /24 that no route of this machine touches."""
    taken = _routes(Path("/proc/net/route"))
    for third in range(53, 254):
        prefix = f"10.253.{third}"
        if not any(net.overlaps(IPv4Network(f"{prefix}.0/24")) for net in taken):
            return prefix
    raise PrepareError(
        "All of 10.253.0.0/16 is in use on this machine.",
        next_step="Name a free /24 by its first three numbers, as QNFV_SUBNET=192.168.77.",
    )


def _routes(table: Path) -> list[IPv4Network]:
    """The networks in the kernel's routing table, the default route excepted."""
    if not table.exists():
        return []
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    networks = [
        IPv4Network(
            (int.from_bytes(bytes.fromhex(row[1]), "little"), bin(int(row[7], 16)).count("1"))
        )
        for row in rows
    ]
    return [network for network in networks if network.prefixlen]


def _free_port() -> str:
    for port in range(_FIRST_REST_PORT, _FIRST_REST_PORT + _REST_PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return str(port)
    raise PrepareError(
        f"No port from {_FIRST_REST_PORT} on is free on loopback.",
        next_step="Name one in QNFV_REST_PORT.",
    )


# --- secrets and certificates ---------------------------------------------------------------------


def _write_secrets(place: Path) -> None:
    place.mkdir(exist_ok=True)
    load_or_make_token(place / "token")
    load_or_make_token(place / "opendaylight-password")
    password_file = place / "database-password"
    if not password_file.exists():
        password = secrets.token_urlsafe(32)
        password_file.write_text(password)
        (place / "database-client").write_text(f"[client]\nuser=qnfv\npassword={password}\n")


def _write_certificates(folder: Path) -> None:
    """One certificate a service; the authority's own key stays in a folder that nobody mounts."""
    pki = folder / "pki"
    if (pki / "authority.key").exists():
        return
    authority = Authority.create(pki, "qnfv compose lab authority")
    for service, identity in _IDENTITIES.items():
        made = authority.issue(identity)
        place = folder / "settings" / service
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made.certificate, place / "certificate.pem")
        authority.hand_out(place)
        shutil.move(made.key, folder / "secrets" / f"{service}.key")


# --- settings -------------------------------------------------------------------------------------


def _orchestrator_settings(subnet: str) -> dict[str, Any]:
    return {
        "name": "central",
        "host": "0.0.0.0",  # noqa: S104 - the port is published on the host's loopback alone
        "port": 8080,
        "token_file": "/run/secrets/token",
        "credentials": _CREDENTIALS,
        # The password stands in the secret; the driver reads it there.
        "database_url": "mysql+pymysql://database/qnfv?read_default_file=/run/secrets/database-client",
        "state_dir": _STATE,
        "topology_file": "/etc/qnfv/topology.toml",
        "node": "node-1",
        "key_capacity": _KEY_CAPACITY,
        "time_scale": _TIME_SCALE,
        "controller": {
            "driver": "opendaylight",
            "options": {
                "url": f"https://opendaylight:{_RESTCONF_PORT}",
                "username": _OPENDAYLIGHT_USER,
                "password_file": "/run/secrets/opendaylight-password",
                "ca_file": _CREDENTIALS["authority"],
                "certificate_file": _CREDENTIALS["certificate"],
                "key_file": _CREDENTIALS["key"],
                "server_name": _IDENTITIES["opendaylight"].dns_name,
            },
        },
        "alice": {
            "name": "alice",
            "unit_agent_url": f"https://alice:{_AGENT_PORT}",
            "unit_agent_name": "alice",
            "source_options": {"address": f"{subnet}.{_ALICE}", "emulated": True},
        },
        "schedule": {
            "slot_s": 600.0,
            "pool_target_keys": 64,
            "look_every_s": 0.1 * _TIME_SCALE,
        },
        "data_centres": [
            {
                "name": f"dc-{number}",
                "gateway_url": f"https://dc-{number}:{_GATEWAY_PORT}",
                "end_point": f"dc-{number}",
                "link": f"alice--bob-{number}",
                "bob_end_point": f"bob-{number}",
                "bob_address": f"{subnet}.{channel}",
            }
            for number, (_, channel) in _BOBS.items()
        ],
    }


def _optical_agent_settings() -> dict[str, Any]:
    return {
        "name": "optical-agent",
        "topology_file": "/etc/qnfv/topology.toml",
        "chassis": "polatis-1",
        "controller": {
            "host": "opendaylight",
            "port": _OPENFLOW_PORT,
            "tls": {
                "server_name": _IDENTITIES["opendaylight"].dns_name,
                "credentials": _CREDENTIALS,
            },
        },
        "device": {
            "driver": "cflow_mod",
            "options": {"listen_host": "0.0.0.0", "listen_port": _CFLOW_MOD_PORT},  # noqa: S104
        },
    }


def _slave_settings(subnet: str, number: int, vim_owner: str) -> dict[str, Any]:
    return {
        "name": f"dc-{number}",
        "host": "0.0.0.0",  # noqa: S104 - inside the lab's network, behind mutual TLS
        "port": _GATEWAY_PORT,
        "credentials": _KEEPS_ITS_LIST,
        "database_url": f"sqlite:///{_STATE}/slave.sqlite",
        "state_dir": _STATE,
        "accept_emulated_keys": True,
        # Bob's store takes a batch more than Alice's, so that hers sets the limit.
        "key_capacity": 2 * _KEY_CAPACITY,
        "intake": {
            "host": "0.0.0.0",  # noqa: S104
            "port": _INTAKE_PORT,
            "advertised_host": "fibre-plant",
            "advertised_port": _FIRST_RELAY_PORT + number - 1,
        },
        "vim": {"driver": "docker", "options": {"data_centre": vim_owner}},
        "links": [
            {
                "name": f"alice--bob-{number}",
                "unit_agent_url": f"https://bob-{number}:{_AGENT_PORT}",
                "unit_agent_name": f"bob-{number}",
                "source_options": {"address": f"{subnet}.{_BOBS[number][0]}", "emulated": True},
            }
        ],
    }


def _agent_settings(unit: str, node_address: str, callers: list[str]) -> dict[str, Any]:
    return {
        "name": unit,
        "role": "alice" if unit == "alice" else "bob",
        "callers": callers,
        "emulated": True,
        "host": "0.0.0.0",  # noqa: S104
        "port": _AGENT_PORT,
        "credentials": _KEEPS_ITS_LIST,
        "state_dir": _STATE,
        "command": [
            "python", "-m", "emulators.clavis2",
            "--fibre-plant", "fibre-plant:7000",
            "--end-point", unit,
            "--address", "0.0.0.0",  # noqa: S104
            "--time-scale", f"{_TIME_SCALE:g}",
            "--log-dir", f"{_STATE}/log",
            "--", "QKDSequence",
        ],
        "log_file": f"{_STATE}/log/qkdsequence.log",
        "idq3p_address": node_address,
        "log_poll_s": 0.02,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the compose lab's files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docker-socket", type=Path, default=Path("/var/run/docker.sock"))
    parser.add_argument("--vim-owner", required=True)
    arguments = parser.parse_args()
    try:
        prepare(arguments.folder, arguments.docker_socket, arguments.vim_owner)
    except ProblemError as error:
        print(f"{error.detail} {error.next_step}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
