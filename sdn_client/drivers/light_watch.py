"""From power readings to lost fibres. Pure but for the clock that is asked for the time.

A meter that reads nothing does not yet mean a lost fibre: a jumper carries light only while
something is joined at its far end, and a quantum signal is far below any meter. So a port is judged
only where classical light should come in: from an end point, which always sends, or over a fibre of
the same chassis whose far port is fed by a port that is lit itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sdn_client.topology import CrossConnect, EndPoint, LightKind, PortRef, Topology
from timekeeping import Clock

_READINGS = 2  # in a row; a meter averages, so the first after a change may be old


class LightWatch:
    """Remembers which ports of one chassis are dark."""

    def __init__(
        self,
        topology: Topology,
        chassis: str,
        clock: Clock,
        *,
        loss_of_light_dbm: float,
        wait_to_restore_s: float,
    ) -> None:
        """A port that is dark and no longer judged counts as usable again after
        `wait_to_restore_s`, so that its fibre is tried once more."""
        self._topology = topology
        self._chassis = chassis
        self._clock = clock
        self._threshold_dbm = loss_of_light_dbm
        self._wait_to_restore_s = wait_to_restore_s
        self._low: dict[
            int, int
        ] = {}  # readings in a row below the threshold, where light should be
        self._dark_since: dict[int, float] = {}

    def judge(
        self, powers_dbm: Mapping[int, float], table: Collection[CrossConnect]
    ) -> frozenset[int]:
        """The dark ports after these readings; `table` is what the chassis has joined."""
        joined = {a: b for x in table for a, b in _both_ways(x)}
        lit = {port for port, power in powers_dbm.items() if power >= self._threshold_dbm}
        now = self._clock.monotonic()
        for port in powers_dbm:
            should = self._should_be_lit(port, joined, lit)
            if port in lit:
                self._low.pop(port, None)
                self._dark_since.pop(port, None)
            elif should:
                self._low[port] = self._low.get(port, 0) + 1
                if self._low[port] >= _READINGS:
                    self._dark_since[port] = now
            else:
                self._low.pop(port, None)
                if now - self._dark_since.get(port, now) > self._wait_to_restore_s:
                    del self._dark_since[port]
        return frozenset(self._dark_since)

    def _should_be_lit(self, port: int, joined: Mapping[int, int], lit: Collection[int]) -> bool:
        facing = self._topology.facing(PortRef(self._chassis, port))
        if facing is None or facing.kind is not LightKind.CLASSICAL:
            return False
        if isinstance(facing.end, EndPoint):
            return True
        far = facing.end
        return far.chassis == self._chassis and joined.get(far.port) in lit


def _both_ways(x: CrossConnect) -> tuple[tuple[int, int], tuple[int, int]]:
    return (x.in_port, x.out_port), (x.out_port, x.in_port)
