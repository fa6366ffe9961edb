"""A simulated key pool: exact between events, because everything in it moves at constant rates."""

from __future__ import annotations

from collections import deque


class SimulatedPool:
    """Level, shortfall and expiry of one pool.

    Bits leave oldest first. With cumulative made M(t) and cumulative gone G(t), a lifetime L means
    G(t) >= M(t - L): expiry is what must be added to G for that.
    """

    def __init__(
        self, capacity_bit: float, start_bit: float, demand_bps: float, lifetime_s: float | None
    ) -> None:
        self.capacity_bit = capacity_bit
        self.level_bit = start_bit
        self.demand_bps = demand_bps
        self.rate_bps = 0.0
        self.at_s = 0.0
        self._lifetime_s = lifetime_s
        self._made: deque[tuple[float, float]] = deque()
        """Break points of M(t), in whose shape the present production is missing yet."""
        self._made_bit = start_bit
        if lifetime_s is not None:
            self._made.append((0.0, start_bit))
        self.forget()

    def forget(self) -> None:
        """Count from now on."""
        self.asked_bit = 0.0
        self.short_bit = 0.0
        self.gained_bit = 0.0
        self.overflow_bit = 0.0
        self.expired_bit = 0.0
        self.least_bit = self.level_bit

    def pass_to(self, now_s: float) -> None:
        """Let time pass; demand, production and expiry take their course."""
        if self._lifetime_s is None:
            self._flow(now_s)
            return
        # In pieces in which the expiring bits too were made at one rate.
        while self.at_s < now_s:
            until_s = now_s
            for made_s, _ in self._made:
                if made_s + self._lifetime_s > self.at_s:
                    until_s = min(until_s, made_s + self._lifetime_s)
                    break
            # A piece no longer than a lifetime: what it makes cannot expire within it.
            until_s = min(until_s, self.at_s + self._lifetime_s)
            self._flow(until_s)
            self._made.append((self.at_s, self._made_bit))
            self._expire()

    def take(self, bits: float) -> bool:
        """Take so many at once, or none."""
        if self.level_bit < bits:
            return False
        self.level_bit -= bits
        self.least_bit = min(self.least_bit, self.level_bit)
        return True

    def _flow(self, now_s: float) -> None:
        span_s = now_s - self.at_s
        if span_s <= 0:
            return
        self.at_s = now_s
        made_bit = self.rate_bps * span_s
        asked_bit = self.demand_bps * span_s
        end_bit = self.level_bit + made_bit - asked_bit
        if end_bit < 0:
            self.short_bit -= end_bit
            end_bit = 0.0
        elif end_bit > self.capacity_bit:
            self.overflow_bit += end_bit - self.capacity_bit
            made_bit -= end_bit - self.capacity_bit
            end_bit = self.capacity_bit
        self.asked_bit += asked_bit
        self.gained_bit += made_bit
        self._made_bit += made_bit
        self.level_bit = end_bit
        self.least_bit = min(self.least_bit, end_bit)

    def _expire(self) -> None:
        assert self._lifetime_s is not None
        too_old_bit = self._made_until(self.at_s - self._lifetime_s)
        gone_bit = self._made_bit - self.level_bit
        expired_bit = min(self.level_bit, max(0.0, too_old_bit - gone_bit))
        self.level_bit -= expired_bit
        self.expired_bit += expired_bit
        self.least_bit = min(self.least_bit, self.level_bit)

    def _made_until(self, time_s: float) -> float:
        """M at a time in the past; forgets the break points before it."""
        if time_s < 0:
            return 0.0
        while len(self._made) > 1 and self._made[1][0] <= time_s:
            self._made.popleft()
        before_s, before_bit = self._made[0]
        if len(self._made) == 1:
            return before_bit
        after_s, after_bit = self._made[1]
        return before_bit + (after_bit - before_bit) * (time_s - before_s) / (after_s - before_s)
