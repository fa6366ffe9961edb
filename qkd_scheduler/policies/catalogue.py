"""The policies by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from qkd_scheduler.errors import DemandError
from qkd_scheduler.policies.lot_sizing import LotSizing
from qkd_scheduler.policies.proportional import Proportional
from qkd_scheduler.policies.run_out import RunOut
from qkd_scheduler.policies.sequential import Sequential
from qkd_scheduler.policies.view import Policy

DEFAULT: Final = "lot_sizing"
NAMES: Final = ("lot_sizing", "proportional", "run_out", "sequential")


def named(name: str, *, slot_s: float = 600.0) -> Policy:
    """A policy by its name; `slot_s` is the slot of `sequential`. `DemandError` if unknown."""
    makers: dict[str, Callable[[], Policy]] = {
        "lot_sizing": LotSizing,
        "proportional": Proportional,
        "run_out": RunOut,
        "sequential": lambda: Sequential(slot_s),
    }
    if name not in makers:
        raise DemandError(
            f"there is no policy {name!r}", next_step=f"Choose one of {', '.join(NAMES)}."
        )
    return makers[name]()
