"""Three clocks, kept apart.

*Wall* time goes into records, *monotonic* time into timeouts, *QKD* time into physics, turns and
key lifetimes. Only QKD time can be scaled: a lab at 1000x lets an initialisation of 1265 s pass
in 1.265 s, while mirrors, network timeouts and transfers keep real time.
"""

from timekeeping.clock import Clock, FakeClock, QkdClock, SystemClock
from timekeeping.rounds import Rounds

__all__ = ["Clock", "FakeClock", "QkdClock", "Rounds", "SystemClock"]
