"""Runs a scenario with SimPy: one process per Alice, and per Bob one for each random demand."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

import simpy

from qkd_scheduler.policies import KEY_BIT, BobView, Choice, Deadline, Policy
from qkd_scheduler.policies.admission import admit
from qkd_scheduler.policies.assignment import Assignment, Route, Site, assign
from qkd_scheduler.simulation.outcome import BobOutcome, Outcome, Pledge, Turn
from qkd_scheduler.simulation.pool import SimulatedPool
from qkd_scheduler.simulation.scenario import DAY_S, Bob, Scenario

_LOOK_S: Final = 600.0
"""An Alice at rest looks again after so long at the latest."""
_BELOW_S: Final = 1.0
"""So long after a level reached its target it is below."""

Steps = Generator[simpy.Event, Any, None]


def simulate(scenario: Scenario) -> Outcome:
    """Simulate it from full (or given) stores; equal scenarios have equal outcomes."""
    return _Simulation(scenario).run()


@dataclass
class _Waiting:
    bits: float
    since_s: float


@dataclass
class _BobState:
    spec: Bob
    pool: SimulatedPool
    alice: int = 0
    demand_bps: float = 0.0
    last_served: int = 0
    turns: int = 0
    turn_ends_s: float | None = None
    queue: deque[_Waiting] = field(default_factory=deque)
    waits_s: list[float] = field(default_factory=list)
    pledges: list[Pledge] = field(default_factory=list)
    levels: list[tuple[float, float]] = field(default_factory=list)


class _Simulation:
    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._env = simpy.Environment()
        self._policies: list[Policy] = [scenario.policy() for _ in range(scenario.alices)]
        self._bobs = {bob.name: self._state(bob) for bob in scenario.bobs}
        self._changed = self._env.event()
        self._busy_resources: set[str] = set()
        self._number = 0
        self._moves = 0
        self._turns: list[Turn] = []
        self._pledges: list[Pledge] = []
        self._set_up_s = self._generating_s = 0.0
        self._failed = 0
        self._failures = Random(f"{scenario.seed} failures")  # noqa: S311
        self._end_s = scenario.days * DAY_S
        self._count_from_s = scenario.warm_up_days * DAY_S

    def _state(self, bob: Bob) -> _BobState:
        scenario = self._scenario
        steady_bps = bob.demand_bps if scenario.transfers is None else 0.0
        start_bit = bob.capacity_bit if bob.start_bit is None else bob.start_bit
        pool = SimulatedPool(bob.capacity_bit, start_bit, steady_bps, scenario.key_lifetime_s)
        return _BobState(bob, pool, demand_bps=bob.demand_bps)

    def run(self) -> Outcome:
        env, scenario = self._env, self._scenario
        self._assign(frozenset())
        for alice in range(scenario.alices):
            env.process(self._alice(alice))
        for outage in scenario.outages:
            env.process(self._outage(outage.from_s, outage.to_s))
        for state in self._bobs.values():
            name = state.spec.name
            if scenario.transfers is not None and state.spec.demand_bps > 0:
                env.process(self._transfers(state, Random(f"{scenario.seed} {name}")))  # noqa: S311
            if scenario.bursts is not None:
                dice = Random(f"{scenario.seed} {name} pads")  # noqa: S311
                env.process(self._bursts(state, dice))
        if self._count_from_s > 0:
            env.process(self._count())
        env.run(until=self._end_s)
        return self._outcome()

    # --- Alice ------------------------------------------------------------------------------------

    def _alice(self, alice: int) -> Steps:
        env = self._env
        while True:
            if alice in self._away():
                yield self._changed
                continue
            mine = [state for state in self._bobs.values() if state.alice == alice]
            choice = self._policies[alice](self._views(mine)) if mine else None
            if choice is None:
                yield self._changed | env.timeout(self._rest_s(mine))
            else:
                yield from self._turn(alice, choice)

    def _turn(self, alice: int, choice: Choice) -> Steps:
        env, state = self._env, self._bobs[choice.link]
        resources = state.spec.resources
        self._busy_resources |= resources
        self._number += 1
        state.last_served = self._number
        state.turns += env.now >= self._count_from_s
        start_s = env.now
        dwell_s = min(choice.dwell_s, self._end_s)
        state.turn_ends_s = start_s + state.spec.set_up_s + dwell_s
        self._note(state)
        yield env.timeout(state.spec.set_up_s)
        generating_s = env.now
        failure = self._scenario.initialisation_failure
        failed = failure > 0 and self._failures.random() < failure
        if failed:
            self._failed += start_s >= self._count_from_s
        else:
            yield from self._generate(state, dwell_s)
        state.turn_ends_s = None
        self._note(state)
        self._busy_resources -= resources
        self._account(start_s, generating_s, env.now)
        if self._scenario.record:
            turn = Turn(alice, state.spec.name, start_s, generating_s, env.now, failed)
            self._turns.append(turn)
        self._wake()

    def _generate(self, state: _BobState, dwell_s: float) -> Steps:
        env, pool = self._env, state.pool
        end_s = env.now + dwell_s
        pool.pass_to(env.now)
        pool.rate_bps = state.spec.rate_bps
        self._note(state)
        while True:
            self._serve_waiting(state)
            left_s = end_s - env.now
            if left_s <= 1e-9:
                break
            missing_bit = state.queue[0].bits - pool.level_bit if state.queue else math.inf
            # A hair more, so that rounding cannot leave the first of the queue just short.
            served_s = missing_bit / pool.rate_bps * (1 + 1e-9) + 1e-6
            step = env.timeout(min(left_s, served_s))
            # Others may begin to wait meanwhile; without random demand nobody does.
            yield step if self._scenario.transfers is None else step | self._changed
            pool.pass_to(env.now)
        pool.rate_bps = 0.0

    def _account(self, start_s: float, generating_s: float, end_s: float) -> None:
        since_s = self._count_from_s
        self._set_up_s += max(0.0, generating_s - max(start_s, since_s))
        self._generating_s += max(0.0, end_s - max(generating_s, since_s))

    def _rest_s(self, mine: list[_BobState]) -> float:
        """Until the first level falls below its target, as far as steady demand goes."""
        if self._scenario.transfers is not None or self._scenario.key_lifetime_s is not None:
            return _LOOK_S
        falls_s = [
            (state.pool.level_bit - self._target_keys(state) * KEY_BIT) / state.pool.demand_bps
            for state in mine
            if state.pool.demand_bps > 0
        ]
        # Who is below already is left alone on purpose, or blocked until another turn ends.
        return min(
            (max(s, 0.0) + _BELOW_S if s > -_BELOW_S else _LOOK_S for s in falls_s), default=DAY_S
        )

    def _target_keys(self, state: _BobState) -> int:
        return max(1, int(state.spec.capacity_bit * self._scenario.target_share) // KEY_BIT)

    def _views(self, states: list[_BobState]) -> list[BobView]:
        now_s, busy = self._env.now, self._busy_resources
        views = []
        for state in states:
            state.pool.pass_to(now_s)
            views.append(
                BobView(
                    state.spec.name,
                    int(state.pool.level_bit) // KEY_BIT,
                    self._target_keys(state),
                    int(state.spec.capacity_bit) // KEY_BIT,
                    math.ceil(sum(waiting.bits for waiting in state.queue) / KEY_BIT),
                    state.last_served,
                    state.demand_bps,
                    state.spec.rate_bps,
                    state.spec.set_up_s,
                    tuple(
                        Deadline(math.ceil(pledge.bits), max(0.0, pledge.promised_s - now_s))
                        for pledge in state.pledges
                        if pledge.promised_s is not None
                    ),
                    state.turn_ends_s is None and busy.isdisjoint(state.spec.resources),
                    None if state.turn_ends_s is None else max(0.0, state.turn_ends_s - now_s),
                )
            )
        return views

    # --- demand -----------------------------------------------------------------------------------

    def _transfers(self, state: _BobState, dice: Random) -> Steps:
        assert self._scenario.transfers is not None
        bits = self._scenario.transfers.bits
        while True:
            yield self._env.timeout(dice.expovariate(state.spec.demand_bps / bits))
            now_s = self._env.now
            state.pool.pass_to(now_s)
            self._serve_waiting(state)
            state.pool.asked_bit += bits
            if not state.queue and state.pool.take(bits):
                state.waits_s.append(0.0)
                self._note(state)
            else:
                state.pool.short_bit += bits
                state.queue.append(_Waiting(bits, now_s))
                self._wake()

    def _serve_waiting(self, state: _BobState) -> None:
        while state.queue and state.pool.take(state.queue[0].bits):
            state.waits_s.append(self._env.now - state.queue.popleft().since_s)

    def _bursts(self, state: _BobState, dice: Random) -> Steps:
        bursts, env = self._scenario.bursts, self._env
        assert bursts is not None
        while True:
            yield env.timeout(dice.expovariate(1 / bursts.every_s))
            mine = [other for other in self._bobs.values() if other.alice == state.alice]
            answer = admit(
                self._policies[state.alice],
                self._views(mine),
                state.spec.name,
                math.ceil(bursts.bits),
                bursts.due_in_s,
            )
            promised_s = None if answer.promised_in_s is None else env.now + answer.promised_in_s
            earliest_s = None if answer.earliest_in_s is None else env.now + answer.earliest_in_s
            pledge = Pledge(
                state.spec.name,
                bursts.bits,
                env.now,
                env.now + bursts.due_in_s,
                promised_s,
                earliest_s,
                None,
            )
            if promised_s is None:
                self._pledges.append(pledge)
            else:
                state.pledges.append(pledge)
                env.process(self._hand_over(state, pledge, promised_s - env.now))
                self._wake()

    def _hand_over(self, state: _BobState, pledge: Pledge, after_s: float) -> Steps:
        yield self._env.timeout(after_s)
        state.pool.pass_to(self._env.now)
        kept = state.pool.take(pledge.bits)
        state.pledges.remove(pledge)
        self._pledges.append(replace(pledge, kept=kept))
        self._note(state)

    # --- Alices come and go -----------------------------------------------------------------------

    def _away(self) -> frozenset[int]:
        now_s = self._env.now
        return frozenset(o.alice for o in self._scenario.outages if o.from_s <= now_s < o.to_s)

    def _outage(self, from_s: float, to_s: float) -> Steps:
        for at_s in (from_s, to_s):
            yield self._env.timeout(at_s - self._env.now)
            self._assign(self._away())
            self._wake()

    def _assign(self, away: frozenset[int]) -> None:
        scenario = self._scenario
        here = [str(alice) for alice in range(scenario.alices) if alice not in away]
        if not here:
            return
        sites = []
        for state in self._bobs.values():
            lot, resources = state.spec.lot(), state.spec.resources
            route = Route(lot, resources)
            sites.append(Site(state.spec.name, dict.fromkeys(here, route)))
        present = {n: str(s.alice) for n, s in self._bobs.items()} if self._env.now > 0 else {}
        plan: Assignment = assign(sites, here, present)
        for name, alice in plan.alice_of.items():
            self._moves += self._env.now > 0 and self._bobs[name].alice != int(alice)
            self._bobs[name].alice = int(alice)

    # --- book-keeping -----------------------------------------------------------------------------

    def _wake(self) -> None:
        changed, self._changed = self._changed, self._env.event()
        changed.succeed()

    def _note(self, state: _BobState) -> None:
        if self._scenario.record:
            state.pool.pass_to(self._env.now)
            state.levels.append((self._env.now, state.pool.level_bit))

    def _count(self) -> Steps:
        yield self._env.timeout(self._count_from_s)
        for state in self._bobs.values():
            state.pool.pass_to(self._env.now)
            state.pool.forget()
            state.waits_s.clear()

    def _outcome(self) -> Outcome:
        bobs = []
        for state in self._bobs.values():
            pool = state.pool
            pool.pass_to(self._end_s)
            # Who still waits has waited until now.
            waits_s = [*state.waits_s, *(self._end_s - w.since_s for w in state.queue)]
            state.levels.append((self._end_s, pool.level_bit))
            self._pledges += state.pledges
            bobs.append(
                BobOutcome(
                    name=state.spec.name,
                    rate_bps=state.spec.rate_bps,
                    set_up_s=state.spec.set_up_s,
                    demand_bps=state.spec.demand_bps,
                    asked_bit=pool.asked_bit,
                    short_bit=pool.short_bit,
                    gained_bit=pool.gained_bit,
                    overflow_bit=pool.overflow_bit,
                    expired_bit=pool.expired_bit,
                    least_bit=pool.least_bit,
                    turns=state.turns,
                    waits_s=tuple(waits_s),
                )
            )
        counted_s = self._end_s - self._count_from_s
        recorded = self._scenario.record
        return Outcome(
            counted_s=counted_s,
            bobs=tuple(bobs),
            set_up_share=self._set_up_s / counted_s / self._scenario.alices,
            generating_share=self._generating_s / counted_s / self._scenario.alices,
            failed_turns=self._failed,
            moves=self._moves,
            turns=tuple(self._turns),
            levels={n: tuple(s.levels) for n, s in self._bobs.items()} if recorded else {},
            pledges=tuple(sorted(self._pledges, key=lambda p: (p.asked_s, p.bob))),
        )
