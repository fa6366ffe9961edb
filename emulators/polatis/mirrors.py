"""The cross-connect table of one chassis and the motion of its mirrors. No sockets here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sdn_client.errors import SamePort, SameSide, UnknownPort
from sdn_client.topology import PortRef, Topology
from timekeeping import Clock

Pair = tuple[int, int]


class Why(Enum):
    """Why the switch says No; each protocol has its own word for it."""

    PORT_IN_USE = "a port is joined otherwise"
    NOT_JOINED = "the ports are not joined with each other"
    NO_FIT = "the two ports can never be joined"
    NO_SUCH_PORT = "the switch has no such port"
    TWO_PARTITIONS = "the ports are not of one virtual switch"


class Refusal(Exception):
    """The switch's No, and the reason for the log."""

    def __init__(self, why: Why, reason: str) -> None:
        super().__init__(reason)
        self.why = why


@dataclass(frozen=True)
class Joined:
    """A joined pair; it passes light from `settles_at` on (monotonic seconds)."""

    pair: Pair
    settles_at: float


class Mirrors:
    """Which ports are joined. Ports are exclusive; pairs of one moment move together."""

    def __init__(self, topology: Topology, chassis: str, clock: Clock) -> None:
        self.topology = topology
        self.chassis = topology.chassis_named(chassis)
        self._clock = clock
        self._switching_s = self.chassis.switching_time_ms / 1000
        self._joined: dict[int, Joined] = {}
        self._still_at = clock.monotonic()

    def connect(self, pairs: Sequence[Pair]) -> list[int]:
        """Join all of `pairs` or none; the ports that changed. Raises Refusal."""
        new: dict[int, Pair] = {}
        for pair in pairs:
            self._check(pair)
            if self._is_joined(pair) or set(new.get(pair[0], ())) == set(pair):
                continue
            for port in pair:
                if port in self._joined or port in new:
                    other = self._joined[port].pair if port in self._joined else new[port]
                    raise Refusal(Why.PORT_IN_USE, f"port {port} is joined as {other}")
            new |= dict.fromkeys(pair, pair)
        settles_at = self._move() if new else 0.0
        self._joined |= {port: Joined(pair, settles_at) for port, pair in new.items()}
        return sorted(new)

    def disconnect(self, pairs: Sequence[Pair]) -> list[int]:
        """Part all of `pairs` or none; the ports that changed. Raises Refusal."""
        gone: list[int] = []
        for pair in pairs:
            self._check(pair)
            if self._is_joined(pair):
                gone.extend(port for port in pair if port not in gone)
            elif other := next((p for p in pair if p in self._joined), None):
                raise Refusal(
                    Why.NOT_JOINED, f"port {other} is joined as {self._joined[other].pair}"
                )
        for port in gone:
            del self._joined[port]
        if gone:
            self._move()
        return sorted(gone)

    def replace(self, pairs: Sequence[Pair]) -> list[int]:
        """Join all of `pairs` and part all others, or nothing; the ports that changed.

        Raises Refusal. A pair that is in both keeps its light.
        """
        wanted: dict[int, frozenset[int]] = {}
        for pair in pairs:
            self._check(pair)
            for port in pair:
                if wanted.setdefault(port, frozenset(pair)) != frozenset(pair):
                    raise Refusal(Why.PORT_IN_USE, f"port {port} is named in two pairs")
        gone = [pair for pair in self.joined() if wanted.get(pair[0]) != frozenset(pair)]
        return sorted({*self.disconnect(gone), *self.connect(pairs)})

    def is_free(self, port: int) -> bool:
        return port not in self._joined

    def pair_at(self, port: int) -> Pair | None:
        """The pair that holds `port`, also while its mirrors move."""
        joined = self._joined.get(port)
        return joined.pair if joined else None

    def passing(self) -> list[Joined]:
        """The pairs that pass light now, by port."""
        now = self._clock.monotonic()
        return sorted(
            {j for j in self._joined.values() if j.settles_at <= now}, key=lambda j: j.pair
        )

    def joined(self) -> list[Pair]:
        """All pairs, those in motion too."""
        return sorted({j.pair for j in self._joined.values()})

    def motion_left_s(self) -> float:
        """Seconds until every mirror stands still."""
        return max(0.0, self._still_at - self._clock.monotonic())

    def still_at(self) -> float:
        """When every mirror that moves now stands still (monotonic seconds, past if none moves)."""
        return self._still_at

    def left_s(self, moment: float) -> float:
        """Seconds until `moment`."""
        return max(0.0, moment - self._clock.monotonic())

    def _move(self) -> float:
        self._still_at = self._clock.monotonic() + self._switching_s
        return self._still_at

    def _is_joined(self, pair: Pair) -> bool:
        joined = self._joined.get(pair[0])
        return joined is not None and set(joined.pair) == set(pair)

    def _check(self, pair: Pair) -> None:
        try:
            self.chassis.check_pair(*pair)
        except UnknownPort as error:
            raise Refusal(Why.NO_SUCH_PORT, error.detail) from error
        except (SamePort, SameSide) as error:
            raise Refusal(Why.NO_FIT, error.detail) from error
        a, b = (self.topology.virtual_switch_of(PortRef(self.chassis.name, p)) for p in pair)
        if a is None or a is not b:
            raise Refusal(
                Why.TWO_PARTITIONS, f"ports {pair[0]} and {pair[1]} are not of one virtual switch"
            )
