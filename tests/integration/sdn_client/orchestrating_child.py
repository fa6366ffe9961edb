"""A process that reserves, establishes and releases circuits until it is killed.

python orchestrating_child.py TOPOLOGY DATABASE_URL PORT ROUND
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from database import open_engine
from observability import configure_logs
from orchestrator.network.ledger import SqlCircuitLedger
from sdn_client.circuits import CircuitService, Reservation
from sdn_client.drivers.openflow import OpenFlowDriver, OpenFlowOptions
from sdn_client.drivers.port import wait_connected
from sdn_client.ledger import Purpose
from sdn_client.topology import load_topology
from timekeeping import SystemClock

WORK = [
    ("node-1", "dc-1", Purpose.IMAGE_TRANSFER),
    ("alice", "bob-1", Purpose.QUANTUM_TURN),
    ("node-1", "dc-2", Purpose.IMAGE_TRANSFER),
    ("alice", "bob-2", Purpose.QUANTUM_TURN),
]


def main(topology_file: str, database_url: str, port: str, round_: str) -> None:
    configure_logs("child", level="ERROR")
    topology = load_topology(Path(topology_file))
    driver = OpenFlowDriver(OpenFlowOptions(listen_port=int(port)), topology)
    ledger = SqlCircuitLedger(open_engine(database_url))
    service = CircuitService(driver, topology, ledger, SystemClock())
    service.start()
    if not wait_connected(driver, ["polatis-1"], 20):
        sys.exit("no switch")
    print("working", flush=True)
    for number in itertools.count():
        owner = f"{round_}-{number}"
        from_, to, purpose = WORK[number % len(WORK)]
        if isinstance(service.reserve(owner, from_, to, purpose), Reservation):
            service.establish(owner)
        if number >= 2:
            service.release(f"{round_}-{number - 2}")


if __name__ == "__main__":
    main(*sys.argv[1:])
