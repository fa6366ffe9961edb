"""Errors of the laboratory.

LabError
├── LabRunningError       a laboratory runs from this folder already
├── ProcessFailedError    one of its processes ended or did not get ready
└── ControllerNotBuiltError    OpenDaylight could not be built
"""

from __future__ import annotations

from problem_details import ProblemError


class LabError(ProblemError):
    slug = "lab"
    title = "The laboratory cannot do that"


class LabRunningError(LabError):
    slug = "lab-running"
    title = "A laboratory runs already"


class ProcessFailedError(LabError):
    slug = "lab-process-failed"
    title = "A process of the laboratory failed"


class ControllerNotBuiltError(LabError):
    slug = "lab-controller-not-built"
    title = "OpenDaylight could not be built"
