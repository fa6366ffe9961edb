"""What a QKD unit did in one turn, by its own log: when it measured, when keys came, its blocks.

Lines are understood as the unit agent does (`idq3p.unit_agent.phase`); two more are read here.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from idq3p.unit_agent.contract import Phase
from idq3p.unit_agent.log_follower import LogFollower
from idq3p.unit_agent.phase import Reading
from timekeeping import QkdClock

_ATTENUATION: Final = re.compile(r"LineMeasurement: Line attenuation measured: (\d+\.\d+) dB$")
_FINAL_BIT: Final = re.compile(r"PrivacyAmplification: Final key size: (\d+)$")
_POLL_REAL_S: Final = 0.002


@dataclass(frozen=True)
class Block:
    """One distilled block; it stands for `exchange_s` seconds of QKD time."""

    secret_key_rate_bps: float
    qber: float
    exchange_s: float


@dataclass
class UnitHistory:
    """Fed with the unit's lines, each with the QKD time at which it was seen."""

    measuring_at_s: float | None = None
    """The line began to be measured."""
    generating_at_s: float | None = None
    """The first key rate above 0 was told."""
    attenuation_db: float | None = None
    line_length_m: float | None = None
    blocks: list[Block] = field(default_factory=list)
    _reading: Reading = field(default_factory=Reading)
    _final_bit: int = 0
    _last_block_at_s: float = 0.0

    @property
    def initialisation_s(self) -> float | None:
        """From the first measurement to the first keys, in QKD time; None if they never came."""
        if self.measuring_at_s is None or self.generating_at_s is None:
            return None
        return self.generating_at_s - self.measuring_at_s

    def take(self, line: str, at_s: float) -> None:
        """One more line of the log."""
        before, now = self._reading, self._reading.after(line)
        self._reading = now
        self.line_length_m = now.line_length_m
        if found := _ATTENUATION.search(line):
            self.attenuation_db = float(found[1])
        elif found := _FINAL_BIT.search(line):
            self._final_bit = int(found[1])
        if self.measuring_at_s is None and now.phase is Phase.INITIALISING:
            self.measuring_at_s = self._last_block_at_s = at_s
        if now.blocks > before.blocks:
            self._take_block(now, at_s)
        if self.generating_at_s is None and now.phase is Phase.GENERATING:
            self.generating_at_s = at_s

    def _take_block(self, now: Reading, at_s: float) -> None:
        rate_bps = now.secret_key_rate_bps or 0.0
        # The rate is bits over time, so it tells the time; a block without keys does not.
        exchange_s = self._final_bit / rate_bps if rate_bps else at_s - self._last_block_at_s
        self.blocks.append(Block(rate_bps, now.qber or 0.0, exchange_s))
        self._last_block_at_s = at_s


class LogWatch:
    """Follows a unit's log from now on, within a `with` block; `history` is what it told."""

    def __init__(self, log_file: Path, clock: QkdClock) -> None:
        self._clock = clock
        self._follower = LogFollower(log_file)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="unit-history", daemon=True)
        self.history = UnitHistory()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._read()
        self._follower.close()

    def _follow(self) -> None:
        # Lines carry whole seconds of wall time, too coarse where time is scaled; so they are
        # stamped as they come.
        while not self._clock.wait(self._ended, _POLL_REAL_S * self._clock.scale):
            self._read()

    def _read(self) -> None:
        for line in self._follower.new_lines():
            self.history.take(line, self._clock.monotonic())
