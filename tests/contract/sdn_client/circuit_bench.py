"""A driver under test together with its device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sdn_client.drivers.port import CircuitDriver
from sdn_client.topology import Topology


@dataclass
class Bench:
    """A driver, its device, and what a test may do to the device."""

    driver: CircuitDriver
    topology: Topology
    cut: Callable[[], None]
    """The device loses power and its table."""
    bring_back: Callable[[], None]
