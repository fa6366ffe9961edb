"""Who runs dry first comes next, and is filled until the next one would run dry.

The obvious greedy rule. It spends little on set-ups while stores are full, but once several run
low together it hurries from one to the next and set-ups eat its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qkd_scheduler.policies.lots import by_link, fill_s, lots_of, runs_dry_in_s
from qkd_scheduler.policies.view import BobView, Choice


@dataclass(frozen=True)
class RunOut:
    """Whoever waits counts as dry. Turns generate at least `shortest_dwell_s`."""

    shortest_dwell_s: float = 60.0

    def __call__(self, bobs: Sequence[BobView], /) -> Choice | None:
        needy = [bob for bob in bobs if bob.wants_alice and bob.available]
        if not needy:
            return None
        lots = by_link(bobs, lots_of(bobs))

        def latest_start_s(bob: BobView) -> float:
            if bob.waiting_deployments > 0:
                return -lots[bob.link].set_up_s
            return runs_dry_in_s(bob, lots[bob.link]) - lots[bob.link].set_up_s

        first = min(needy, key=lambda bob: (latest_start_s(bob), bob.last_served, bob.link))
        lot = lots[first.link]
        full_s = fill_s(first.level_bit - lot.demand_bps * lot.set_up_s, lot)
        others = [latest_start_s(bob) for bob in bobs if bob.link != first.link]
        leave_s = min(others, default=full_s + lot.set_up_s) - lot.set_up_s
        return Choice(first.link, max(self.shortest_dwell_s, min(full_s, leave_s)))
