"""Runs policies on seeded instances and sets what they serve in relation to the bound."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from rich.table import Table

from qkd_scheduler.bounds import Lot, largest_common_demand_bps, without_set_ups_bps
from qkd_scheduler.policies import Policy
from qkd_scheduler.policies.catalogue import named
from qkd_scheduler.simulation.run import simulate
from qkd_scheduler.simulation.scenario import Bob, Scenario, rate_and_set_up

INSTANCES: Final = 20
QUICK_INSTANCES: Final = 5
DAYS: Final = 15.0
LONG_DAYS: Final = 60.0
SHORTFALL: Final = 1e-3
HALVINGS: Final = 10
LARGEST_SHARE: Final = 1.15
"""Where the search for the served demand begins, in shares of the bound."""
SLOTS_S: Final = (900, 1800, 2700, 3600, 5400, 7200, 10800, 14400, 21600, 28800)
LAB_KM: Final = (5.0, 15.0, 25.0)
LAB_BUFFER_H: Final = 12.0
AIMS: Final = {"lot_sizing_mean": 0.97, "lot_sizing_worst": 0.93, "lab_to_sequential": 2.3}
POLICIES: Final = ("sequential", "run_out", "proportional", "lot_sizing")

Maker = Callable[[], Policy]


@dataclass(frozen=True)
class Instance:
    """Bobs by rate and set-up, with their stores; demands are what is searched."""

    lots: tuple[Lot, ...]

    @property
    def bound_bps(self) -> float:
        return largest_common_demand_bps(self.lots)

    def scenario(self, demand_bps: float, policy: Maker, days: float) -> Scenario:
        bobs = tuple(
            Bob(f"Bob {n}", lot.rate_bps, lot.set_up_s, lot.capacity_bit, demand_bps)
            for n, lot in enumerate(self.lots, 1)
        )
        return Scenario(bobs, policy, days=days, record=False)


def instance(distances_km: Sequence[float], buffers_h: Sequence[float]) -> Instance:
    """Stores hold so many hours of what could be served if set-ups cost nothing."""
    lines = [rate_and_set_up(distance_km) for distance_km in distances_km]
    unhindered_bps = without_set_ups_bps([rate_bps for rate_bps, _ in lines])
    return Instance(
        tuple(
            Lot(unhindered_bps, rate_bps, set_up_s, hours * 3600 * unhindered_bps)
            for (rate_bps, set_up_s), hours in zip(lines, buffers_h, strict=True)
        )
    )


def random_instance(seed: int) -> Instance:
    """2 to 12 Bobs at 0 to 24 km, stores of 6 to 24 hours."""
    dice = Random(seed)
    number = dice.randint(2, 12)
    distances_km = [dice.uniform(0, 24) for _ in range(number)]
    return instance(distances_km, [dice.uniform(6, 24) for _ in range(number)])


def served_share(
    of: Instance,
    policy: Maker,
    *,
    days: float = DAYS,
    low: float = 0.0,
    high: float = LARGEST_SHARE,
) -> float:
    """Largest share of the bound that the policy serves, to a thousandth; 0 if less than `low`."""
    bound_bps = of.bound_bps

    def serves(share: float) -> bool:
        outcome = simulate(of.scenario(share * bound_bps, policy, days))
        return outcome.worst_shortfall < SHORTFALL

    if low > 0 and not serves(low):
        return 0.0
    while high - low > LARGEST_SHARE / 2**HALVINGS:
        middle = (low + high) / 2
        if serves(middle):
            low = middle
        else:
            high = middle
    return low


def sequential_share(of: Instance) -> tuple[float, float]:
    """What equal slots serve, with the slot that suits the instance best; and that slot in s."""
    best, best_slot_s = 0.0, float(SLOTS_S[0])
    for slot_s in SLOTS_S:
        share = served_share(of, partial(named, "sequential", slot_s=slot_s), low=best + 1e-3)
        if share > best:
            best, best_slot_s = share, float(slot_s)
    return best, best_slot_s


def run(*, quick: bool = False) -> dict[str, Any]:
    """Measure; shares of the bound per instance and policy."""
    report: dict[str, Any] = {"days": DAYS, "long_days": LONG_DAYS, "aims": AIMS, "instances": []}
    for seed in range(1, (QUICK_INSTANCES if quick else INSTANCES) + 1):
        of = random_instance(seed)
        sharper = largest_common_demand_bps(of.lots, interrupted=True) / of.bound_bps
        entry: dict[str, Any] = {
            "seed": seed,
            "bobs": len(of.lots),
            "bound_bps": of.bound_bps,
            "sharper_bound": sharper,
            **_shares(of),
        }
        if not quick:
            entry["long_run"] = served_share(
                of,
                partial(named, "lot_sizing"),
                days=LONG_DAYS,
                low=0.8,
                high=entry["shares"]["lot_sizing"] + 0.01,
            )
        report["instances"].append(entry)
    lab = instance(LAB_KM, [LAB_BUFFER_H] * len(LAB_KM))
    report["lab"] = {"bound_bps": lab.bound_bps, **_shares(lab)}
    shares = report["lab"]["shares"]
    report["lab"]["lot_sizing_to_sequential"] = shares["lot_sizing"] / shares["sequential"]
    return report


def _shares(of: Instance) -> dict[str, Any]:
    shares, seconds = {}, {}
    slot_s = 0.0
    for name in POLICIES:
        began = time.perf_counter()
        if name == "sequential":
            shares[name], slot_s = sequential_share(of)
        else:
            shares[name] = served_share(of, partial(named, name))
        seconds[name] = time.perf_counter() - began
    return {"shares": shares, "best_slot_s": slot_s, "measuring_s": seconds}


def table(report: Mapping[str, Any]) -> Table:
    """Mean and worst share of the bound per policy, and the lab's Bobs."""
    entries = report["instances"]
    result = Table(
        title=f"Largest common demand served, as a share of the bound "
        f"({len(entries)} instances, {report['days']:g} days)",
        caption=f"Aims: lot_sizing mean {AIMS['lot_sizing_mean']}, worst "
        f"{AIMS['lot_sizing_worst']}; on the lab's Bobs {AIMS['lab_to_sequential']} times "
        f"sequential. Measured there: {report['lab']['lot_sizing_to_sequential']:.2f} times.",
    )
    for heading in ("policy", "mean", "worst", "best", "lab 5/15/25 km"):
        result.add_column(heading, justify="left" if heading == "policy" else "right")
    for name in POLICIES:
        shares = [entry["shares"][name] for entry in entries]
        label = "sequential (best slot)" if name == "sequential" else name
        result.add_row(label, *_summary(shares), f"{report['lab']['shares'][name]:.3f}")
    long_run = [entry["long_run"] for entry in entries if "long_run" in entry]
    if long_run:
        result.add_row(f"lot_sizing, {report['long_days']:g} days", *_summary(long_run), "")
    sharper = [entry["sharper_bound"] for entry in entries]
    result.add_row("sharper bound", *_summary(sharper), "")
    return result


def _summary(shares: Sequence[float]) -> tuple[str, str, str]:
    return f"{statistics.mean(shares):.3f}", f"{min(shares):.3f}", f"{max(shares):.3f}"
