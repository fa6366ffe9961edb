"""Whether an instance serves."""

from __future__ import annotations

import socket
import ssl

import httpx

from emulators.lab.opendaylight.instance import InstanceSettings
from trust import Identity, Role
from trust.client import open_client

CONTROLLER = Identity(Role.CONTROLLER, "opendaylight")
"""Whose certificate an instance shows."""

READY_S = 480.0
"""How long it may take: on two cores perhaps beside a build, and after boots that got stuck."""

_PROBE_TIMEOUT_S = 5.0
_NODES = "/rests/data/opendaylight-inventory:nodes?content=config"


def is_ready(settings: InstanceSettings) -> bool:
    """Whether RESTCONF answers to the configured user and OpenFlow accepts connections."""
    host, port = settings.restconf
    password = settings.password_file.read_text("utf-8").strip()
    try:
        with open_client(
            f"https://{host}:{port}",
            credentials=settings.credentials,
            peer=CONTROLLER,
            timeout_s=_PROBE_TIMEOUT_S,
        ) as client:
            # An empty store answers 409 (data-missing), a model not yet loaded 400.
            status = client.get(_NODES, auth=(settings.username, password)).status_code
        if status not in (httpx.codes.OK, httpx.codes.CONFLICT):
            return False
        with socket.create_connection(settings.openflow, _PROBE_TIMEOUT_S):
            return True
    except (OSError, httpx.TransportError, ssl.SSLError):
        return False
