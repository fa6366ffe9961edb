"""Errors of this package.

SchedulerError
├── TurnFailedError       a turn ended early; `detail` says in which state and why
├── InitialisationError   the units did not come up in time, or one of them failed
├── DemandError           demands, rates or set-ups that no schedule can have
└── PlotsMissingError     the optional library for pictures is not installed
"""

from __future__ import annotations

from problem_details import ProblemError


class SchedulerError(ProblemError):
    slug = "scheduler"
    title = "The schedule cannot go on"


class TurnFailedError(SchedulerError):
    slug = "turn-failed"
    title = "A turn of Alice failed"


class InitialisationError(SchedulerError):
    slug = "initialisation-failed"
    title = "The QKD units did not come up"


class DemandError(SchedulerError):
    slug = "impossible-demand"
    title = "This demand does not describe a schedule"


class PlotsMissingError(SchedulerError):
    slug = "plots-missing"
    title = "Pictures cannot be drawn"
