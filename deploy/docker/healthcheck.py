"""Asks a part of the house whether it is well; exit code 0 if so.

    healthcheck.py rest PORT                 the orchestrator's REST answers
    healthcheck.py tls PORT NAME             the service of this certificate name answers us
    healthcheck.py plant HOST PORT [CHASSIS] the fibre plant answers (and sees this switch)
    healthcheck.py listens PORT              somebody listens there, without asking him
    healthcheck.py controller PORT NAME OPENFLOW_PORT
                                             RESTCONF asks us for a password, OpenFlow listens

It uses the standard library alone, since it starts every few seconds in each container.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

_TIMEOUT_S = 4.0
_CERTIFICATES = Path("/etc/qnfv")
_KEY = Path("/run/secrets/key.pem")
_LISTEN = "0A"
"""Of the states in /proc/net/tcp."""


def rest(port: str) -> bool:
    """Whether REST answers on loopback; it may say that a switch is away."""
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=_TIMEOUT_S)
    connection.request("GET", "/api/v1/health")
    return connection.getresponse().status == http.client.OK


def tls(port: str, name: str) -> bool:
    """Whether `/healthz` answers over mutual TLS under the certificate name `name`."""
    return _answer(port, name, "/healthz").startswith(b"HTTP/1.1 200 ")


def controller(port: str, name: str, openflow_port: str) -> bool:
    """Whether RESTCONF answers over mutual TLS, and OpenFlow is listened to."""
    asks_for_password = b"HTTP/1.1 401 "
    return _answer(port, name, "/rests/data").startswith(asks_for_password) and listens(
        openflow_port
    )


def listens(port: str) -> bool:
    """Whether a TCP socket listens on this port: a connection would be a switch to who listens."""
    local = f":{int(port):04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(local) and fields[3] == _LISTEN:
                return True
    return False


def _answer(port: str, name: str, path: str) -> bytes:
    """The beginning of the answer over mutual TLS, under the certificate name `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(_CERTIFICATES / "authority.pem")
    context.load_cert_chain(_CERTIFICATES / "certificate.pem", _KEY)
    plain = socket.create_connection(("127.0.0.1", int(port)), _TIMEOUT_S)
    with context.wrap_socket(plain, server_hostname=name) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        return connection.recv(64)


def plant(host: str, port: str, chassis: str | None = None) -> bool:
    """Whether the plant tells its state, and `chassis` is among its switches."""
    with socket.create_connection((host, int(port)), _TIMEOUT_S) as connection:
        connection.sendall(b'{"hello": "observer"}\n')
        state = json.loads(connection.makefile().readline())
    return "paths" in state and (chassis is None or chassis in state["switches"])


def main(arguments: list[str]) -> int:
    what, *details = arguments
    ask: dict[str, Callable[..., bool]] = {
        "rest": rest,
        "tls": tls,
        "plant": plant,
        "listens": listens,
        "controller": controller,
    }
    try:
        well = ask[what](*details)
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"{what}: {error}", file=sys.stderr)
        return 1
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
