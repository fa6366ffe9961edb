"""A turn of Alice as phases that follow each other; also of one to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.store.tables import TurnRow
from qkd_scheduler.policies.forecast import PlannedTurn
from qkd_scheduler.states import FINAL, TurnState

PHASES: dict[TurnState, str] = {
    TurnState.CONNECTING: "Switch",
    TurnState.STANDBY: "Standby",
    TurnState.INITIALISING: "Initialise",
    TurnState.GENERATING: "Generate",
    TurnState.DRAINING: "Drain",
}
"""What people call the states in which Alice is busy, in their order."""


@dataclass(frozen=True)
class Phase:
    state: TurnState
    begins_at: datetime
    ends_at: datetime

    @property
    def title(self) -> str:
        return PHASES[self.state]

    @property
    def seconds(self) -> float:
        return (self.ends_at - self.begins_at).total_seconds()


def is_present(turn: TurnRow) -> bool:
    return TurnState(turn.state) not in FINAL


def phases_of(turn: TurnRow, now: datetime) -> list[Phase]:
    """Those that it entered; the last one goes on until now, or until the turn ended."""
    begins = {
        TurnState.CONNECTING: turn.started_at,
        TurnState.STANDBY: turn.standby_at,
        TurnState.INITIALISING: turn.initialising_at,
        TurnState.GENERATING: turn.generating_at,
        TurnState.DRAINING: turn.draining_at,
    }
    entered = [(state, at) for state, at in begins.items() if at is not None]
    ends = [at for _, at in entered[1:]] + [turn.ended_at or max(now, entered[-1][1])]
    return [Phase(state, at, end) for (state, at), end in zip(entered, ends, strict=True)]


def planned_phases(turn: PlannedTurn, now: datetime, scale: float) -> list[Phase]:
    """Set-up, of which initialisation is nearly all, and generation, as foreseen."""
    starts, generates, ends = (
        now + timedelta(seconds=qkd_s / scale)
        for qkd_s in (turn.starts_in_s, turn.generates_in_s, turn.ends_in_s)
    )
    phases = [
        Phase(TurnState.INITIALISING, starts, generates),
        Phase(TurnState.GENERATING, generates, ends),
    ]
    return [phase for phase in phases if phase.seconds > 0]
