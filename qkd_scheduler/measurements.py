"""What the units tell: one reading, and what a turn measured block after block."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class UnitReading:
    """A QKD unit as its agent tells: is it up, did it fail, what does it measure."""

    standing_by: bool
    generating: bool
    failed: bool
    detail: str
    secret_key_rate_bps: float | None = None
    qber: float | None = None
    last_block_at: datetime | None = None
    """When the unit last told a key rate, by its own clock."""


@dataclass(frozen=True)
class Measured:
    """Of all blocks seen so far: key rates in bit/s, QBER as a share. None: never told."""

    blocks: int = 0
    last_rate_bps: float | None = None
    mean_rate_bps: float | None = None
    last_qber: float | None = None
    least_qber: float | None = None
    mean_qber: float | None = None
    largest_qber: float | None = None


class Measurements:
    """Sums up the readings of one turn; a block that is read again counts once."""

    def __init__(self) -> None:
        self._rates_bps: list[float] = []
        self._qbers: list[float] = []
        self._last: tuple[object, ...] | None = None
        self._blocks = 0

    def take(self, reading: UnitReading) -> bool:
        """Add a reading of a generating unit; False if it tells nothing new."""
        seen = (reading.last_block_at, reading.secret_key_rate_bps, reading.qber)
        if seen == self._last:
            return False
        self._last = seen
        self._blocks += 1
        if reading.secret_key_rate_bps is not None:
            self._rates_bps.append(reading.secret_key_rate_bps)
        if reading.qber is not None:
            self._qbers.append(reading.qber)
        return True

    @property
    def largest_rate_bps(self) -> float | None:
        return max(self._rates_bps, default=None)

    def so_far(self) -> Measured:
        rates, qbers = self._rates_bps, self._qbers
        return Measured(
            self._blocks,
            rates[-1] if rates else None,
            sum(rates) / len(rates) if rates else None,
            qbers[-1] if qbers else None,
            min(qbers, default=None),
            sum(qbers) / len(qbers) if qbers else None,
            max(qbers, default=None),
        )
