"""Drivers by the name that a settings file gives: entry points, never a switch over types."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, cast

from service_settings.errors import SettingsError


def find_driver(group: str, name: str) -> Callable[..., Any]:
    """What opens the driver `name` of an entry point group. Raises SettingsError."""
    found = entry_points(group=group)
    if name not in found.names:
        raise SettingsError(
            f"There is no driver {name!r} in {group}.",
            next_step=f"Installed are: {', '.join(sorted(found.names))}.",
        )
    return cast("Callable[..., Any]", found[name].load())
