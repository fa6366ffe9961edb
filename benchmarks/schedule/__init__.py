"""Scheduling policies against the bound: the largest common demand that each one serves.

Random instances of one Alice and several Bobs, simulated from full stores; the first day does not
count. A demand is served when no Bob misses 0.1 % of his. Shares are of the bound of
`qkd_scheduler.bounds`, which holds for ever; a run of days may end a little above it, since it
starts from full stores. The long run shows what remains of that.
"""

from benchmarks.schedule.bench import run, table

__all__ = ["run", "table"]
