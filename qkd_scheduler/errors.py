"""Errors of this package.

SchedulerError
├── TurnFailedError           a turn ended early; `fault` says why, `detail` in which state
│   ├── InitialisationError   the units did not come up in time, or one of them failed
│   ├── QberTooHighError      the error rate rose above the threshold
│   └── PathBusyError         ports of the path are in use
├── UnitSilentError           a unit, or the gateway before it, does not answer
├── DemandError               demands, rates or set-ups that no schedule can have
└── PlotsMissingError         the optional library for pictures is not installed
"""

from __future__ import annotations

from typing import Any

from problem_details import ProblemError
from qkd_scheduler.faults import Fault


class SchedulerError(ProblemError):
    slug = "scheduler"
    title = "The schedule cannot go on"


class TurnFailedError(SchedulerError):
    slug = "turn-failed"
    title = "A turn of Alice failed"

    def __init__(self, detail: str, *, fault: Fault, next_step: str = "", **more: Any) -> None:
        super().__init__(detail, next_step=next_step, fault=fault.value, **more)
        self.fault = fault


class InitialisationError(TurnFailedError):
    slug = "initialisation-failed"
    title = "The QKD units did not come up"


class QberTooHighError(TurnFailedError):
    slug = "qber-too-high"
    title = "The error rate is too high"


class PathBusyError(TurnFailedError):
    slug = "path-busy"
    title = "The path is not free"


class UnitSilentError(SchedulerError):
    slug = "unit-silent"
    title = "A QKD unit does not answer"


class DemandError(SchedulerError):
    slug = "impossible-demand"
    title = "This demand does not describe a schedule"


class PlotsMissingError(SchedulerError):
    slug = "plots-missing"
    title = "Pictures cannot be drawn"
