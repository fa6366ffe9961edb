"""A whole live schedule over fakes with time: real turns, policies, books and threads; units, paths
and pools are imitated, and what must never be is noted as a violation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine

from orchestrator.events.bus import EventBus
from orchestrator.schedule.alarms import Alarms
from orchestrator.schedule.assignment import Assignments
from orchestrator.schedule.books import Books
from orchestrator.schedule.desk import TurnDesk
from orchestrator.schedule.feeds import Feeds
from orchestrator.schedule.leadership import Leadership
from orchestrator.schedule.lease import Lease
from orchestrator.schedule.orders import OrderBook
from orchestrator.schedule.outlook import Outlook, Retries
from orchestrator.schedule.promises import PromiseBook
from orchestrator.schedule.service import ScheduleService
from orchestrator.schedule.timetable import Timetable
from orchestrator.schedule.ways import Way, Ways
from orchestrator.store.tables import TurnRow
from qkd_scheduler.errors import PathBusyError, UnitSilentError
from qkd_scheduler.faults import Fault
from qkd_scheduler.measurements import UnitReading
from qkd_scheduler.policies import KEY_BIT, Policy
from qkd_scheduler.policies.lot_sizing import LotSizing
from qkd_scheduler.ports import Pair
from qkd_scheduler.turn import TurnLimits, TurnRunner
from timekeeping import QkdClock, SystemClock

SCALE = 20_000.0
INITIALISATION_S = 400.0
RATE_BPS = 2_000.0


@dataclass
class Unit:
    """A unit whose phases follow QKD time. Alices have no link of their own."""

    name: str
    clock: QkdClock
    started_s: float | None = None
    turn_id: UUID | None = None
    silent: bool = False
    dark: bool = False
    never_ready: bool = False
    qber: float = 0.02
    generating: threading.Event = field(default_factory=threading.Event)

    def start(self, turn_id: UUID, fencing: int, *, loss_db: float) -> None:
        self._answer()
        self.turn_id, self.started_s = turn_id, self.clock.monotonic()

    def read(self) -> UnitReading:
        self._answer()
        if self.started_s is None:
            return UnitReading(False, False, False, f"{self.name} is stopped")
        age_s = self.clock.monotonic() - self.started_s
        ready = age_s >= INITIALISATION_S and not self.dark and not self.never_ready
        if ready:
            self.generating.set()
        return UnitReading(True, ready, False, f"{self.name} runs", RATE_BPS, self.qber)

    def stop(self, turn_id: UUID, fencing: int) -> None:
        self._answer()
        self.turn_id = self.started_s = None
        self.generating.clear()

    def _answer(self) -> None:
        if self.silent:
            raise UnitSilentError(f"{self.name} does not answer", next_step="look at it")


class Glass:
    """The paths of all turns; notes every overlap."""

    def __init__(self, way_of: Callable[[str], Way]) -> None:
        self._way_of = way_of
        self._lock = threading.Lock()
        self._lit: dict[UUID, Way] = {}
        self.most_at_once = 0
        self.violations: list[str] = []
        self.busy: set[str] = set()

    def connect(self, turn_id: UUID, link: str) -> float:
        way = self._way_of(link)
        if link in self.busy:
            raise PathBusyError("ports are in use", fault=Fault.PATH_BUSY)
        with self._lock:
            for other in self._lit.values():
                if other.alice == way.alice or other.link == link:
                    self.violations.append(f"{way.alice} and {other.alice} towards {link}")
                if other.resources & way.resources:
                    self.violations.append(f"{other.link} and {link} share a path")
            self._lit[turn_id] = way
            self.most_at_once = max(self.most_at_once, len(self._lit))
        return way.loss_db

    def loss_of_light(self, turn_id: UUID) -> str | None:
        return None

    def release(self, turn_id: UUID) -> None:
        with self._lock:
            self._lit.pop(turn_id, None)

    @property
    def lit(self) -> list[tuple[str, str]]:
        with self._lock:
            return sorted((way.alice, way.link) for way in self._lit.values())


class Stores:
    """Key stores of both ends: a drain brings what was made since the last one."""

    capacity_keys = 64

    def __init__(self, links: Sequence[str], clock: QkdClock) -> None:
        self.levels = dict.fromkeys(links, 0)
        self.target = 8
        self.waiting = dict.fromkeys(links, 0)
        self.taken: list[tuple[str, datetime, int]] = []
        self.quarantined: list[tuple[str, UUID]] = []
        self.made_per_drain = 8
        self._clock = clock

    def level(self, link: str) -> int:
        return self.levels[link]

    def wanted_keys(self, link: str) -> int:
        return self.target

    def waiting_on_demand(self, link: str) -> int:
        return self.waiting[link]

    def taken_since(self, link: str, since: datetime) -> int:
        return sum(n for of, at, n in self.taken if of == link and at >= since)

    def take(self, link: str, count: int) -> None:
        self.levels[link] -= count
        self.taken.append((link, self._clock.now(), count))

    def serve_waiting(self, link: str, turn_id: UUID) -> int:
        served, self.waiting[link] = self.waiting[link], 0
        return served

    def drain(self, link: str, turn_id: UUID, *, at_most: int) -> int:
        gained = min(at_most, self.made_per_drain, self.capacity_keys - self.levels[link])
        self.levels[link] += gained
        return gained

    def quarantine(self, link: str, turn_id: UUID, reason: str) -> int:
        self.quarantined.append((link, turn_id))
        lost, self.levels[link] = self.levels[link], 0
        return lost

    def settle(self, link: str) -> None: ...


class Room:
    """A schedule in one process. `routes` gives for each link the Alices that reach it, and the
    shared fibres of each way."""

    def __init__(
        self,
        engine: Engine,
        routes: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
        *,
        policy: Policy | None = None,
        exclude_untrusted: bool = False,
        lease: Lease | None = None,
        retry_after_s: float = 4_000.0,
        limits: TurnLimits | None = None,
    ) -> None:
        routes = routes or {"alice--bob-1": {"alice": []}}
        self.clock = QkdClock(SCALE)
        alices = sorted({alice for reach in routes.values() for alice in reach})
        self.alices = {alice: Unit(alice, self.clock) for alice in alices}
        self.bobs = {link: Unit(link.partition("--")[2], self.clock) for link in routes}
        self.ways = Ways(
            Way(
                alice,
                Pair(link, self.alices[alice], self.bobs[link]),
                km=5.0,
                loss_db=2.548,
                resources=frozenset({f"port {alice}", f"fibre {link}", *shared}),
            )
            for link, reach in routes.items()
            for alice, shared in reach.items()
        )
        self.stores = Stores(list(routes), self.clock)
        wall, bus = SystemClock(), EventBus()
        self.timetable = Timetable(engine, wall, bus)
        self.orders = OrderBook(engine, wall)
        self.promises = PromiseBook(engine, wall)
        self.alarms = Alarms(engine, wall, bus)
        self.books = Books(self.timetable, self.orders, self.promises, self.alarms)
        self.assignments = Assignments(engine, wall, self.ways)
        self.glass = Glass(lambda link: self.ways.to(link)[self.assignments.alice_of(link)])
        self.turns: Any = TurnRunner(
            self.glass,
            self.stores,
            self.timetable,
            self.clock,
            limits or TurnLimits(initialisation_s=20_000.0, look_every_s=200.0),
        )
        self.waiting: Callable[[str], int] = lambda _: 0
        self.outlook = Outlook(
            self.ways,
            self.assignments,
            Feeds(
                self.timetable,
                self.stores,
                self.clock,
                demand_window_s=86_400.0,
                expected_demand_bps=0.5,
            ),
            self.stores,
            self.books,
            policy or LotSizing(),
            self.clock,
            Retries(retry_after_s, 32 * retry_after_s),
            waiting_for_keys=lambda link: self.waiting(link),
        )
        self.lease = lease or Lease(engine, "schedule", uuid4(), life_s=5.0)
        self.leadership = Leadership(
            self.lease, wall, lambda fencing: self.schedule.on_leadership(fencing)
        )
        self.desk = TurnDesk(
            self.ways,
            self.assignments,
            self.turns,
            self.books,
            wall,
            fencing=lambda: self.leadership.fencing,
            exclude_untrusted=exclude_untrusted,
        )
        self.schedule = ScheduleService(
            self.ways,
            self.assignments,
            self.outlook,
            self.desk,
            self.books,
            self.leadership,
            self.clock,
        )

    def turns_of(self, link: str, state: str = "done") -> list[TurnRow]:
        """Oldest first."""
        found = [turn for turn in self.timetable.recent_of(link, 100) if turn.state == state]
        return found[::-1]


def until(holds: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Look again and again: the effect of threads, bounded by a deadline."""
    clock, never = SystemClock(), threading.Event()
    deadline_s = clock.monotonic() + timeout_s
    while not holds():
        assert clock.monotonic() < deadline_s, f"never came true: {what}"
        clock.wait(never, 0.02)


KEY_BITS = KEY_BIT
