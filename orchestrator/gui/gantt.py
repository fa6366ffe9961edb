"""Alice's turns on an axis of time: where bars stand, in per cent of the window's width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.gui.formats import duration_text
from orchestrator.gui.phases import Phase, phases_of, planned_phases
from orchestrator.store.tables import TurnRow
from qkd_scheduler.policies.forecast import Forecast
from qkd_scheduler.states import TurnState

_STEPS_S = (60, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
_MARKS = 8


@dataclass(frozen=True)
class Window:
    """A piece of time around now. Marks and lengths are told in QKD time."""

    begins_at: datetime
    now: datetime
    ends_at: datetime
    scale: float

    @classmethod
    def around(cls, now: datetime, qkd_s: float, scale: float) -> Window:
        """So long in QKD time, as much of it past as to come."""
        half = timedelta(seconds=qkd_s / scale / 2)
        return cls(now - half, now, now + half, scale)

    @property
    def seconds(self) -> float:
        return (self.ends_at - self.begins_at).total_seconds()

    def at(self, moment: datetime) -> float:
        """Where a moment stands, within the window."""
        share = (moment - self.begins_at).total_seconds() / self.seconds
        return round(100 * min(max(share, 0.0), 1.0), 3)

    def shows(self, phase: Phase) -> bool:
        return phase.ends_at > self.begins_at and phase.begins_at < self.ends_at

    def marks(self) -> list[tuple[float, str]]:
        """Where the axis is marked, and with which words."""
        qkd_s = self.seconds * self.scale
        step_s = next((s for s in _STEPS_S if qkd_s / s <= _MARKS), _STEPS_S[-1])
        first = math.ceil(-qkd_s / 2 / step_s)
        last = math.floor(qkd_s / 2 / step_s)
        return [
            (round(50 + 100 * n * step_s / qkd_s, 3), self._word(n * step_s))
            for n in range(first, last + 1)
            if n != 0 and abs(n * step_s) < 0.47 * qkd_s
        ]

    @staticmethod
    def _word(qkd_s: float) -> str:
        return f"{'−' if qkd_s < 0 else '+'}{duration_text(abs(qkd_s))}"


@dataclass(frozen=True)
class Bar:
    """A phase of a turn within the window."""

    x: float
    width: float
    state: TurnState
    planned: bool
    failed: bool
    title: str


@dataclass(frozen=True)
class Lane:
    """The turns of one link."""

    link: str
    bars: list[Bar]


def lanes_of(
    links: Sequence[str],
    turns: Sequence[TurnRow],
    plans: Mapping[str, Forecast],
    window: Window,
) -> list[Lane]:
    """A lane for each link, also where nothing is in it."""
    bars: dict[str, list[Bar]] = {link: [] for link in links}
    for turn in reversed(turns):
        for phase in phases_of(turn, window.now):
            if window.shows(phase):
                title = f"{turn.alice} with {turn.link}, turn {turn.number}"
                failed = turn.state == TurnState.FAILED
                bars.setdefault(turn.link, []).append(_bar(phase, window, title, failed=failed))
    for alice, plan in plans.items():
        for planned in plan.turns:
            for phase in planned_phases(planned, window.now, window.scale):
                if window.shows(phase):
                    title = f"Planned: {alice} with {planned.link}"
                    bar = _bar(phase, window, title, planned=True)
                    bars.setdefault(planned.link, []).append(bar)
    return [Lane(link, found) for link, found in bars.items()]


def _bar(
    phase: Phase, window: Window, turn: str, *, planned: bool = False, failed: bool = False
) -> Bar:
    x = window.at(phase.begins_at)
    length = duration_text(phase.seconds * window.scale)
    return Bar(
        x,
        round(window.at(phase.ends_at) - x, 3),
        phase.state,
        planned,
        failed,
        f"{turn}: {phase.title.lower()}, {length} of QKD time",
    )
