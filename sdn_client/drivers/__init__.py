"""Drivers of the optical switch: how cross-connects get into the device, and back out.

`port` says what a driver is; each driver is one file and one entry point of the group
`sdn_client.drivers`. `fake` is the driver for unit tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from sdn_client.drivers.port import CircuitDriver
from sdn_client.errors import UnknownName
from sdn_client.topology import Topology

__all__ = ["CircuitDriver", "open_driver"]


def open_driver(name: str, options: Mapping[str, Any], topology: Topology) -> CircuitDriver:
    """Open the driver registered as `name`; UnknownName when there is none.

    `options` are the driver's own; each driver documents and checks them.
    """
    found = entry_points(group="sdn_client.drivers")
    if name not in found.names:
        raise UnknownName(
            f"There is no driver named {name!r} for the optical switch.",
            next_step=f"Drivers: {', '.join(sorted(found.names))}.",
        )
    driver: CircuitDriver = found[name].load()(options, topology)
    return driver
