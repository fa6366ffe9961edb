"""What a driver refuses itself, where the device would not say No, or would do it all the same."""

from __future__ import annotations

from collections.abc import Collection

from sdn_client.errors import RequestRefused
from sdn_client.topology import CrossConnect, PortRef, Topology


def ports_in_use(
    connect: Collection[CrossConnect], table: Collection[CrossConnect]
) -> dict[CrossConnect, str]:
    """Which of `connect` need a port that another pair of `table` or of `connect` holds."""
    holder: dict[PortRef, CrossConnect] = {port: x for x in table for port in x.ports}
    faults: dict[CrossConnect, str] = {}
    for new in sorted(connect):
        for port in new.ports:
            if holder.get(port, new) != new:
                faults[new] = f"port {port} is in use: it is joined as {holder[port]}"
        if new not in faults:
            holder |= dict.fromkeys(new.ports, new)
    return faults


def impossible(topology: Topology, connect: Collection[CrossConnect]) -> dict[CrossConnect, str]:
    """Which of `connect` the chassis can never join, or that leave their virtual switch."""
    faults: dict[CrossConnect, str] = {}
    for new in sorted(connect):
        a, b = new.ports
        try:
            topology.chassis_named(new.chassis).check_pair(a.port, b.port)
        except RequestRefused as error:
            faults[new] = error.detail.rstrip(".")
            continue
        switches = topology.virtual_switch_of(a), topology.virtual_switch_of(b)
        if switches[0] is None or switches[0] is not switches[1]:
            faults[new] = "the ports are of two partitions"
    return faults


def listed(cross_connects: Collection[CrossConnect]) -> str:
    """The cross-connects as one text for a person."""
    return ", ".join(str(x) for x in sorted(cross_connects)) or "none"
