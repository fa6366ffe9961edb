"""The one error of this package."""

from __future__ import annotations

from problem_details import ProblemError


class SettingsError(ProblemError):
    """A settings file is missing or says something that cannot be."""

    slug = "bad-settings"
    title = "The settings cannot be used"
