"""A common cycle: each Bob once, and for as long as his share of the demand takes.

The cycle is the longest that no store outlasts, so that as little as possible goes into set-ups;
the dwells fill it in the ratio of demand over key rate (round robin in proportion to demand, as in
Hernandez-Hernandez et al., JOCN 2025). At the bound's demand it is the usual common-cycle solution
of the lot scheduling problem (Hanssmann).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qkd_scheduler.bounds import longest_cycle_s
from qkd_scheduler.policies.lots import by_link, fill_s, lots_of
from qkd_scheduler.policies.view import BobView, Choice


@dataclass(frozen=True)
class Proportional:
    """Who was served longest ago comes next. Turns generate at least `shortest_dwell_s`."""

    shortest_dwell_s: float = 60.0

    def __call__(self, bobs: Sequence[BobView], /) -> Choice | None:
        needy = [bob for bob in bobs if bob.wants_alice and bob.available]
        if not needy:
            return None
        lots = lots_of(bobs)
        first = min(needy, key=lambda bob: (bob.last_served, bob.link))
        lot = by_link(bobs, lots)[first.link]
        cycle_s = min(longest_cycle_s(each) for each in lots)
        generating_s = cycle_s - sum(each.set_up_s for each in lots)
        utilisation = sum(each.utilisation for each in lots)
        dwell_s = lot.utilisation / utilisation * generating_s
        full_s = fill_s(first.level_bit - lot.demand_bps * lot.set_up_s, lot)
        return Choice(first.link, max(self.shortest_dwell_s, min(dwell_s, full_s)))
