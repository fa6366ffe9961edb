"""What the power meters (OPM) of the emulated switch read, in dBm. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sdn_client.topology import EndPoint, LightKind, PortRef, Topology

FLOOR_DBM = -60.0
"""What a meter reads in the dark. A quantum signal is far below it, so it reads this too."""
TRANSCEIVER_DBM = -1.0
"""What every classical end point sends, all the time."""


def incoming_power_dbm(
    topology: Topology, chassis: str, passing: Mapping[int, int], dark: Collection[int]
) -> dict[int, float]:
    """The power that comes in at each port of `chassis`.

    `passing` maps each port that passes light to the port where it goes, both ways; `dark` are the
    ports whose fibre is cut. Light of other chassis is not seen here.
    """
    table = topology.chassis_named(chassis)
    loss_db = table.cross_connect_loss_db

    def incoming(port: int, seen: frozenset[int]) -> float:
        facing = topology.facing(PortRef(chassis, port))
        if facing is None or port in dark or port in seen:
            return FLOOR_DBM
        if isinstance(facing.end, EndPoint):
            classical = facing.end.kind is LightKind.CLASSICAL
            return TRANSCEIVER_DBM - facing.loss_db if classical else FLOOR_DBM
        far = facing.end
        if far.chassis != chassis or far.port not in passing:
            return FLOOR_DBM
        before = incoming(passing[far.port], seen | {port})
        return before if before == FLOOR_DBM else before - loss_db - facing.loss_db

    return {
        port: round(max(FLOOR_DBM, incoming(port, frozenset())), 2)
        for port in range(1, table.ports + 1)
    }
