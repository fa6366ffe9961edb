"""What the schedule sees of the house, and what it will do next. Nothing here acts."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from orchestrator.schedule.assignment import Assignments
from orchestrator.schedule.books import Books
from orchestrator.schedule.feeds import Feeds, Line, Pools
from orchestrator.schedule.orders import BobOrders, PinKind
from orchestrator.schedule.promises import Promise
from orchestrator.schedule.ways import Way, Ways
from orchestrator.store.tables import TurnRow
from qkd_scheduler.bounds import Lot
from qkd_scheduler.faults import WITHOUT_BLAME, Fault
from qkd_scheduler.policies import KEY_BIT, BobView, Deadline, Policy
from qkd_scheduler.policies.directed import HOLD_S, Directed, Pin
from qkd_scheduler.policies.forecast import Forecast, forecast
from qkd_scheduler.states import FINAL, TurnState
from timekeeping import QkdClock

_LOOK_BACK: Final = 20
"""Turns of one link that are looked at."""
_PATH_BUSY_S: Final = 1.0
"""Real seconds until a path that others use is tried again."""
_FRESH_S: Final = 1.0
"""Real seconds for which a forecast is good."""
_KEPT: Final = 256
_HORIZON_S: Final = 2 * 86_400.0
_FINAL: Final = frozenset(state.value for state in FINAL)


@dataclass(frozen=True)
class Retries:
    """How long a link whose turns fail is left alone, in QKD seconds: doubled with each failure."""

    first_s: float
    longest_s: float


@dataclass(frozen=True)
class PoolOutlook:
    """One link's pool now and soon; durations are QKD seconds from now."""

    link: str
    alice: str
    level_keys: int
    target_keys: int
    capacity_keys: int
    demand_bps: float
    line: Line
    waiting_keys: int
    deadlines: tuple[Deadline, ...]
    orders: BobOrders
    rests_until: datetime | None
    """After failures; None if he may be served."""
    next_keys_in_s: float | None
    runs_dry_in_s: float | None


class Outlook:
    """Views and forecasts, made from the database. Thread-safe; holds no lock while it plans."""

    def __init__(
        self,
        ways: Ways,
        assignments: Assignments,
        feeds: Feeds,
        pools: Pools,
        books: Books,
        policy: Policy,
        clock: QkdClock,
        retries: Retries,
        *,
        waiting_for_keys: Callable[[str], int],
    ) -> None:
        self._ways = ways
        self._assignments = assignments
        self._feeds = feeds
        self._pools = pools
        self._timetable = books.timetable
        self._orders = books.orders
        self._promises = books.promises
        self._policy = policy
        self._clock = clock
        self._retries = retries
        self._waiting_for_keys = waiting_for_keys
        self._lock = threading.Lock()
        self._version = 0
        self._forecasts: dict[tuple[str, float, str | None], tuple[int, float, Forecast]] = {}

    # --- what a policy sees -----------------------------------------------------------------------

    def views(self, alice: str) -> list[BobView]:
        """The Bobs of one Alice as the policy sees them now; excluded ones are not there."""
        orders = self._orders.all()
        present = [row for row in self._timetable.unfinished() if row.alice != alice]
        busy: set[str] = set()
        for row in present:
            way = self._ways.find(row.link, row.alice)
            busy |= way.resources if way is not None else set()
        views = []
        for link in self._assignments.bobs_of(alice):
            way = self._ways.find(link, alice)
            order = orders.get(link, BobOrders(link))
            if way is not None and not order.excluded:
                views.append(self._view(way, order, busy))
        return views

    def policy(self, views: Sequence[BobView]) -> Policy:
        """The policy, with what people ordered around it."""
        orders = self._orders.all()
        numbers = {view.link: view.last_served for view in views}
        pinned = sorted(
            (order for link, order in orders.items() if order.pin and link in numbers),
            key=lambda order: (order.pinned_at.timestamp() if order.pinned_at else 0, order.link),
        )
        if not pinned:
            return self._policy
        pins = tuple(Pin(order.link, numbers[order.link], self._hold_s(order)) for order in pinned)
        return Directed(self._policy, pins)

    def is_full(self, link: str) -> bool:
        return self._pools.level(link) >= self._pools.capacity_keys

    def lot_of(self, link: str, alice: str) -> Lot:
        """A link under an Alice, as the lot scheduling problem knows it."""
        line = self._feeds.line(self._ways.to(link)[alice])
        capacity_bit = float(max(1, self._pools.capacity_keys) * KEY_BIT)
        return Lot(self._feeds.demand_bps(link), line.rate_bps, line.set_up_s, capacity_bit)

    def _hold_s(self, order: BobOrders) -> float | None:
        if order.pin is not PinKind.HOLD:
            return None
        if order.pinned_until is None:
            return HOLD_S
        return max(1.0, self._qkd_s(self._clock.now(), order.pinned_until))

    def _view(self, way: Way, order: BobOrders, busy: set[str]) -> BobView:
        link = way.link
        turns = self._timetable.recent_of(link, _LOOK_BACK)
        line = self._feeds.line(way, turns)
        level = self._pools.level(link)
        promises = self._promises.open(link)
        view = BobView(
            link=link,
            level_keys=level,
            target_keys=self._pools.wanted_keys(link),
            capacity_keys=self._pools.capacity_keys,
            waiting_deployments=self._waiting_keys(link, level, promises, order),
            last_served=turns[0].number if turns else 0,
            demand_bps=self._feeds.demand_bps(link),
            rate_bps=line.rate_bps,
            set_up_s=line.set_up_s,
            deadlines=self._deadlines(promises),
            available=not busy & way.resources and self.rests_until(order, turns) is None,
        )
        if not turns or turns[0].state in _FINAL:
            return view
        generates_in_s, ends_in_s = self._left_s(turns[0], line)
        return replace(view, turn_generates_in_s=generates_in_s, turn_ends_in_s=ends_in_s)

    def _waiting_keys(
        self, link: str, level: int, promises: Sequence[Promise], order: BobOrders
    ) -> int:
        """Keys that somebody waits for now. Who was promised his keys waits only once it is broken.

        A pad that nobody promised counts with all its keys.
        """
        now = self._clock.now()
        open_, overdue = [], 0
        for promise in promises:
            if promise.promised_at > now:
                open_.append(promise)
            else:
                overdue += math.ceil(promise.bits / KEY_BIT)
        operations = max(0, self._waiting_for_keys(link) - len(open_))
        waiting = max(operations, self._pools.waiting_on_demand(link))
        if operations > 0:
            promised = sum(math.ceil(promise.bits / KEY_BIT) for promise in open_)
            waiting = max(waiting, self._pools.wanted_keys(link) - promised - level)
        waiting = max(waiting, overdue - level)
        return max(waiting, 1) if order.keys_asked_at is not None else max(waiting, 0)

    def _deadlines(self, promises: Sequence[Promise]) -> tuple[Deadline, ...]:
        now = self._clock.now()
        return tuple(
            Deadline(promise.bits, self._qkd_s(now, promise.promised_at))
            for promise in promises
            if promise.promised_at > now
        )

    def rests_until(self, order: BobOrders, turns: Sequence[TurnRow]) -> datetime | None:
        """Until when a link is left alone after failures; None if it may be served."""
        failures, newest = 0, None
        for turn in turns:
            if turn.state == TurnState.DONE:
                break
            if turn.state != TurnState.FAILED or turn.ended_at is None or turn.fault is None:
                continue
            if order.forgiven_at is not None and turn.ended_at <= order.forgiven_at:
                break
            if newest is None:
                newest = turn
            failures += turn.fault not in WITHOUT_BLAME
        if newest is None or newest.ended_at is None:
            return None
        delay_s = 0.0
        if newest.fault == Fault.PATH_BUSY:
            delay_s = _PATH_BUSY_S
        if failures:
            qkd_s = min(self._retries.first_s * 2.0 ** (failures - 1), self._retries.longest_s)
            delay_s = max(delay_s, self._clock.real_s(qkd_s))
        until = newest.ended_at + timedelta(seconds=delay_s)
        return until if until > self._clock.now() else None

    def retry_in_s(self, alice: str) -> float | None:
        """Real seconds until the first of her Bobs who rests may be served; None if none rests."""
        now, orders = self._clock.now(), self._orders.all()
        left_s = [
            (until - now).total_seconds()
            for link in self._assignments.bobs_of(alice)
            if (
                until := self.rests_until(
                    orders.get(link, BobOrders(link)),
                    self._timetable.recent_of(link, _LOOK_BACK),
                )
            )
        ]
        return max(0.0, min(left_s)) if left_s else None

    def _left_s(self, turn: TurnRow, line: Line) -> tuple[float, float]:
        """Of a present turn: until its first keys, and until its end."""
        now = self._clock.now()
        if turn.generating_at is None:
            set_up_s = max(0.0, line.set_up_s - self._qkd_s(turn.started_at, now))
            return set_up_s, set_up_s + turn.dwell_s
        if turn.draining_at is not None:
            return 0.0, 0.0
        return 0.0, max(0.0, turn.dwell_s - self._qkd_s(turn.generating_at, now))

    # --- what will be -----------------------------------------------------------------------------

    def changed(self) -> None:
        """Forecasts made before now are not good any more."""
        with self._lock:
            self._version += 1

    def forecast(
        self, alice: str, horizon_s: float = _HORIZON_S, *, asked: str | None = None
    ) -> Forecast:
        """The turns of one Alice for the next `horizon_s` of QKD time; kept for a moment.

        With `asked`, as if somebody asked for keys of that link now.
        """
        key = (alice, horizon_s, asked)
        with self._lock:
            version = self._version
            kept = self._forecasts.get(key)
        now_s = self._clock.real_s(self._clock.monotonic())
        if kept is not None and kept[0] == version and now_s - kept[1] < _FRESH_S:
            return kept[2]
        views = [
            replace(view, waiting_deployments=max(1, view.waiting_deployments))
            if view.link == asked
            else view
            for view in self.views(alice)
        ]
        made = forecast(self.policy(views), views, horizon_s)
        with self._lock:
            if len(self._forecasts) >= _KEPT:
                self._forecasts.clear()
            self._forecasts[key] = (version, now_s, made)
        return made

    def keys_in_s(self, link: str) -> float | None:
        """QKD seconds until this link's next keys, if somebody asks for them; None if excluded."""
        alice = self._assignments.alice_of(link)
        expected_s = self.forecast(alice).refill_in_s(link)
        if expected_s is not None:
            return expected_s
        return self.forecast(alice, asked=link).refill_in_s(link)

    def pools(self) -> list[PoolOutlook]:
        """Every pool, by link."""
        orders = self._orders.all()
        found: list[PoolOutlook] = []
        for alice in self._ways.alices:
            links = self._assignments.bobs_of(alice)
            if not links:
                continue
            views: Mapping[str, BobView] = {view.link: view for view in self.views(alice)}
            ahead = self.forecast(alice)
            for link in links:
                order = orders.get(link, BobOrders(link))
                found.append(self._pool(link, alice, order, views.get(link), ahead))
        return sorted(found, key=lambda pool: pool.link)

    def _pool(
        self,
        link: str,
        alice: str,
        order: BobOrders,
        view: BobView | None,
        ahead: Forecast,
    ) -> PoolOutlook:
        turns = self._timetable.recent_of(link, _LOOK_BACK)
        level = self._pools.level(link)
        demand_bps = self._feeds.demand_bps(link)
        if view is None:  # excluded: nothing will come
            dry_in_s = level * KEY_BIT / demand_bps if demand_bps > 0 else None
        else:
            dry_in_s = ahead.dry_in_s.get(link)
        return PoolOutlook(
            link,
            alice,
            level,
            self._pools.wanted_keys(link),
            self._pools.capacity_keys,
            demand_bps,
            self._feeds.line(self._ways.to(link)[alice], turns),
            view.waiting_deployments if view is not None else 0,
            view.deadlines if view is not None else (),
            order,
            self.rests_until(order, turns),
            ahead.refill_in_s(link),
            dry_in_s,
        )

    def _qkd_s(self, start: datetime, end: datetime) -> float:
        return max(0.0, (end - start).total_seconds() * self._clock.scale)
