"""Simulated schedules: many Bobs, few Alices, months in seconds.

`scenario` says what is simulated, `run` simulates it with SimPy, `outcome` holds what was measured;
`plots` draws it. The pools are exact between events (piecewise linear), so a turn costs the same
whatever time it takes.
"""

from qkd_scheduler.simulation.outcome import BobOutcome, Outcome, Pledge, Turn
from qkd_scheduler.simulation.run import simulate
from qkd_scheduler.simulation.scenario import (
    Bob,
    Bursts,
    Outage,
    Scenario,
    Transfers,
    bob_at,
)

__all__ = [
    "Bob",
    "BobOutcome",
    "Bursts",
    "Outage",
    "Outcome",
    "Pledge",
    "Scenario",
    "Transfers",
    "Turn",
    "bob_at",
    "simulate",
]
