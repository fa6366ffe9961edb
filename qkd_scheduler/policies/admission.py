"""Deadlines: a pad of so many bits by a time is promised, or refused with the earliest time.

A promise is given only if the policy, run ahead with it, keeps it and every earlier one, and lets
no Bob run dry who would not have without it. A promised time leaves room for one failed set-up
where the deadline allows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from qkd_scheduler.errors import DemandError
from qkd_scheduler.policies.forecast import forecast
from qkd_scheduler.policies.lots import by_link, lots_of
from qkd_scheduler.policies.view import BobView, Deadline, Policy

_HALVINGS: Final = 8
_FIRST_STEP_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Promise:
    """The answer to a request; times from now, in QKD seconds.

    `promised_in_s` is None if it was refused; then `earliest_in_s` says when it could be, or None
    with the reason why it never can.
    """

    link: str
    bits: int
    promised_in_s: float | None
    earliest_in_s: float | None
    reason: str = ""

    @property
    def admitted(self) -> bool:
        return self.promised_in_s is not None


def admit(
    policy: Policy,
    bobs: Sequence[BobView],
    link: str,
    bits: int,
    due_in_s: float,
    *,
    look_ahead_s: float = 7 * 86_400.0,
) -> Promise:
    """Promise `bits` of a link within `due_in_s`, or say when. `DemandError` for an absurd wish."""
    bob = next((bob for bob in bobs if bob.link == link), None)
    if bob is None or bits <= 0 or not due_in_s >= 0:
        raise DemandError(
            f"{bits} bits of {link} within {due_in_s:g} s cannot be asked for",
            next_step="Name a known link, more than 0 bits and a time that lies ahead.",
        )
    if bits > bob.capacity_bit:
        reason = f"the pad is larger than the pool, which holds {bob.capacity_bit} bits"
        return Promise(link, bits, None, None, reason)
    search = _Search(policy, bobs, link, bits)
    earliest_s = search.earliest_s(look_ahead_s)
    if earliest_s is None:
        reason = f"it cannot be made within {look_ahead_s / 86_400:g} days without breaking others"
        return Promise(link, bits, None, None, reason)
    if earliest_s > due_in_s:
        return Promise(link, bits, None, earliest_s, "the keys cannot be made in time")
    lost_set_up_s = by_link(bobs, lots_of(bobs))[link].set_up_s if earliest_s > 0 else 0.0
    return Promise(link, bits, min(due_in_s, earliest_s + lost_set_up_s), earliest_s)


class _Search:
    def __init__(self, policy: Policy, bobs: Sequence[BobView], link: str, bits: int) -> None:
        self._policy = policy
        self._bobs = bobs
        self._link = link
        self._bits = bits

    def earliest_s(self, look_ahead_s: float) -> float | None:
        """The earliest time at which a promise holds, to a minute or two; None if there is none."""
        if self._holds(0.0):
            return 0.0
        late_s, step_s = 0.0, _FIRST_STEP_S
        while True:
            soon_s = min(late_s + step_s, look_ahead_s)
            if self._holds(soon_s):
                break
            if soon_s >= look_ahead_s:
                return None
            late_s, step_s = soon_s, step_s * 1.5
        for _ in range(_HALVINGS):
            middle_s = (late_s + soon_s) / 2
            if self._holds(middle_s):
                soon_s = middle_s
            else:
                late_s = middle_s
        return soon_s

    def _holds(self, due_in_s: float) -> bool:
        wish = Deadline(self._bits, due_in_s)
        with_it = [
            replace(bob, deadlines=(*bob.deadlines, wish)) if bob.link == self._link else bob
            for bob in self._bobs
        ]
        last_s = max(d.due_in_s for bob in with_it for d in bob.deadlines)
        # One more turn of everybody: a promise must not leave the others to starve afterwards.
        horizon_s = last_s + sum(lot.set_up_s for lot in lots_of(self._bobs))
        ahead = forecast(self._policy, with_it, horizon_s)
        if ahead.broken:
            return False
        dry = {link for link, at_s in ahead.dry_in_s.items() if at_s is not None}
        if not dry:
            return True
        without = forecast(self._policy, self._bobs, horizon_s).dry_in_s
        return all(without[link] is not None for link in dry)
