"""What outlives a connection to the controller."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from sdn_client.openflow13.multipart import Description
from sdn_client.openflow13.structures import Port
from sdn_client.optical_agent.table import FlowTable


@dataclass
class MasterElection:
    """The largest generation id that a controller showed; it outlives connections."""

    generation_id: int | None = None

    def accepts(self, generation_id: int) -> bool:
        """Take the id of a master or slave, unless it is older than the largest (modulo 2**64)."""
        known = self.generation_id
        if known is not None and (generation_id - known) % 2**64 >= 2**63:
            return False
        self.generation_id = generation_id
        return True


@dataclass(frozen=True)
class Surroundings:
    """What a session works with; all of it outlives the connection. Times in seconds."""

    table: FlowTable
    device_thread: Executor
    ports: Callable[[], tuple[Port, ...]]
    """The presented ports as they are now."""
    uptime_s: Callable[[], float]
    datapath_id: int
    description: Description
    election: MasterElection
    quiet_s: float
    handshake_timeout_s: float
    idle_s: float
