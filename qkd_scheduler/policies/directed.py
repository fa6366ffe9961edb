"""Orders of people around a policy: who is pinned comes first, whatever the policy thinks.

An excluded Bob is simply not among the views. This is the only place that knows of pins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from qkd_scheduler.policies.run_out import RunOut
from qkd_scheduler.policies.view import BobView, Choice, Policy

HOLD_S: Final = 86_400.0
"""Dwell of a hold without an end; unpinning ends it in order."""


@dataclass(frozen=True, slots=True)
class Pin:
    """Serve this link next, in the first turn after his turn number `after`.

    `hold_s` is how long Alice is then held on it, in seconds of QKD time; None for a usual turn.
    """

    link: str
    after: int
    hold_s: float | None = None


@dataclass(frozen=True)
class Directed:
    """A `Policy` that obeys pins in their order, then asks the policy inside.

    A pinned Bob who is not available is passed over until he is.
    """

    policy: Policy
    pins: tuple[Pin, ...]

    def __call__(self, bobs: Sequence[BobView], /) -> Choice | None:
        views = {bob.link: bob for bob in bobs}
        for pin in self.pins:
            bob = views.get(pin.link)
            if bob is not None and bob.available and bob.last_served <= pin.after:
                return Choice(pin.link, _dwell_s(pin, bobs))
        return self.policy(bobs)


def _dwell_s(pin: Pin, bobs: Sequence[BobView]) -> float:
    if pin.hold_s is not None:
        return pin.hold_s
    # Until his pool is full, or until the next Bob would run dry.
    alone = [
        replace(bob, waiting_deployments=max(1, bob.waiting_deployments), available=True)
        if bob.link == pin.link
        else replace(bob, available=False)
        for bob in bobs
    ]
    choice = RunOut()(alone)
    assert choice is not None
    return min(choice.dwell_s, HOLD_S)
