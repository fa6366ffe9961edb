"""What the schedule learns from its own past: demands, key rates and set-up times.

Estimates move in steps of 5 %, so that a plan of turns that was found once stays good while they
do not move much.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from orchestrator.schedule.timetable import Timetable
from orchestrator.schedule.ways import Way
from orchestrator.store.tables import TurnRow
from qkd_scheduler.policies import KEY_BIT
from qkd_scheduler.states import TurnState
from timekeeping import QkdClock

_TURNS: Final = 5
"""Past turns that count."""
_LOOK_BACK: Final = 20
_STEP: Final = math.log(1.05)
_PROGRAMS_S: Final = 1.0
"""Real seconds in which the units' programs start and stop, where no turn was measured."""
_PRIOR_SHARE: Final = 0.25
"""The expected demand weighs as much as this share of the window."""


class Pools(Protocol):
    """The key pools of all links, as the schedule sees them."""

    @property
    def capacity_keys(self) -> int: ...

    def wanted_keys(self, link: str) -> int:
        """How full the pool should be."""
        ...

    def level(self, link: str) -> int:
        """Keys that both ends hold and nobody has reserved."""
        ...

    def waiting_on_demand(self, link: str) -> int:
        """How many wait for a key of their own from Alice."""
        ...

    def taken_since(self, link: str, since: datetime) -> int:
        """How many keys were taken from the pool since then."""
        ...


@dataclass(frozen=True)
class Line:
    """What a way gives: bit/s, and QKD seconds that a turn takes beside its dwell."""

    rate_bps: float
    set_up_s: float
    measured: bool


class Feeds:
    """Estimates from the journal of turns and the pools. Thread-safe."""

    def __init__(
        self,
        timetable: Timetable,
        pools: Pools,
        clock: QkdClock,
        *,
        demand_window_s: float,
        expected_demand_bps: float,
    ) -> None:
        self._timetable = timetable
        self._pools = pools
        self._clock = clock
        self._window_s = demand_window_s
        self._expected_bps = expected_demand_bps

    def demand_bps(self, link: str) -> float:
        """What is taken from this pool, in bit per QKD second.

        Keys taken within the window, over its length (or since the link's first turn), together
        with the expected demand, which counts as a share of the window.
        """
        now = self._clock.now()
        first = self._timetable.first(link)
        span_s = 0.0 if first is None else self._qkd_s(first.started_at, now)
        span_s = min(span_s, self._window_s)
        since = now - timedelta(seconds=self._clock.real_s(span_s))
        taken_bit = self._pools.taken_since(link, since) * KEY_BIT if span_s > 0 else 0
        prior_s = _PRIOR_SHARE * self._window_s
        return _stepped((self._expected_bps * prior_s + taken_bit) / (prior_s + span_s))

    def line(self, way: Way, turns: Sequence[TurnRow] | None = None) -> Line:
        """Of the last turns that brought keys; by the line's physics before there were any."""
        if turns is None:
            turns = self._timetable.recent_of(way.link, _LOOK_BACK)
        good = [
            turn
            for turn in turns
            if turn.state == TurnState.DONE and turn.alice == way.alice and turn.generating_at
        ][:_TURNS]
        rates_bps = [rate for turn in good if (rate := _rate_bps(turn))]
        rate_bps = statistics.fmean(rates_bps) if rates_bps else way.expected_rate_bps
        set_ups_s = [self._beside_dwell_s(turn) for turn in good]
        if set_ups_s:
            set_up_s = statistics.median(set_ups_s)
        else:
            set_up_s = way.expected_set_up_s + _PROGRAMS_S * self._clock.scale
        return Line(_stepped(rate_bps), _stepped(set_up_s), bool(rates_bps))

    def _beside_dwell_s(self, turn: TurnRow) -> float:
        """Before its first key, and after its last."""
        assert turn.generating_at is not None
        before_s = self._qkd_s(turn.started_at, turn.generating_at)
        if turn.draining_at is None or turn.ended_at is None:
            return before_s
        return before_s + self._qkd_s(turn.draining_at, turn.ended_at)

    def _qkd_s(self, start: datetime, end: datetime) -> float:
        return max(0.0, (end - start).total_seconds()) * self._clock.scale


def _rate_bps(turn: TurnRow) -> float | None:
    return turn.mean_rate_bps or turn.secret_key_rate_bps


def _stepped(value: float) -> float:
    """The nearest power of 1.05, to four digits."""
    if value <= 0:
        return value
    return float(f"{math.exp(round(math.log(value) / _STEP) * _STEP):.4g}")
