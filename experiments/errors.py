"""Errors of this package.

ExperimentError
├── PlotsMissingError     a library of the extra `plots` is not installed
├── ImpossibleRunError    what was asked for cannot be measured
├── NoReportError         there is no report to draw again
└── NotReproducedError    a printed point was missed
"""

from __future__ import annotations

from problem_details import ProblemError


class ExperimentError(ProblemError):
    slug = "experiment"
    title = "The experiment cannot be done"


class PlotsMissingError(ExperimentError):
    slug = "plots-missing"
    title = "Pictures cannot be drawn"


class ImpossibleRunError(ExperimentError):
    slug = "impossible-run"
    title = "This cannot be measured"


class NoReportError(ExperimentError):
    slug = "no-report"
    title = "There is no report to draw"


class NotReproducedError(ExperimentError):
    slug = "not-reproduced"
    title = "The paper's figure was not reproduced"
