"""Who leads stops in time by its own clock, even if the database hangs; deadlocks are retried."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from database import in_transaction
from orchestrator.schedule.leadership import Leadership
from orchestrator.schedule.lease import Lease
from orchestrator.store.tables import BobAssignmentRow
from timekeeping import SystemClock

CLOCK = SystemClock()


class HangingLease(Lease):
    """A lease whose database does not answer at all once the test says so."""

    def __init__(self, engine: Engine, life_s: float) -> None:
        super().__init__(engine, "schedule", uuid4(), life_s=life_s)
        self.hangs = threading.Event()
        self.fails = threading.Event()
        self.let_go = threading.Event()
        self.asked = 0

    def acquire(self) -> int | None:
        self.asked += 1
        if self.hangs.is_set():
            self.let_go.wait(60)
        if self.fails.is_set():
            raise OperationalError("UPDATE lease", {}, Exception("server has gone away"))
        return super().acquire()


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[int | None, float]] = []
        self.any = threading.Semaphore(0)

    def __call__(self, number: int | None) -> None:
        self.heard.append((number, CLOCK.monotonic()))
        self.any.release()


@pytest.fixture
def lease(engine: Engine) -> Iterator[HangingLease]:
    lease = HangingLease(engine, life_s=1.0)
    yield lease
    lease.let_go.set()


def test_a_leader_whose_database_hangs_stops_before_its_lease_is_over(
    engine: Engine, lease: HangingLease
) -> None:
    heard = Listener()
    leadership = Leadership(lease, CLOCK, heard)
    leadership.start()
    assert heard.any.acquire(timeout=30)
    lease.hangs.set()
    since_s = CLOCK.monotonic()
    assert heard.any.acquire(timeout=30)
    number, at_s = heard.heard[-1]
    assert number is None
    assert at_s - since_s < 1.0, "nobody else could have led by then"
    assert leadership.fencing is None
    lease.let_go.set()
    leadership.close()


def test_a_database_that_is_away_for_a_moment_costs_nothing(
    engine: Engine, lease: HangingLease
) -> None:
    heard = Listener()
    leadership = Leadership(lease, CLOCK, heard)
    leadership.start()
    assert heard.any.acquire(timeout=30)
    lease.fails.set()
    asked = lease.asked
    until(lambda: lease.asked > asked)
    lease.fails.clear()
    asked = lease.asked
    until(lambda: lease.asked >= asked + 4)  # a whole life later
    assert [number for number, _ in heard.heard] == [1]
    assert leadership.fencing == 1
    leadership.close()
    assert Lease(engine, "schedule", uuid4()).acquire() == 2, "who closes lets go"


def test_only_one_of_two_leads_and_the_other_takes_over(engine: Engine) -> None:
    first_heard, second_heard = Listener(), Listener()
    first = Leadership(Lease(engine, "schedule", uuid4(), life_s=1.0), CLOCK, first_heard)
    second = Leadership(Lease(engine, "schedule", uuid4(), life_s=1.0), CLOCK, second_heard)
    first.start()
    assert first_heard.any.acquire(timeout=30)
    second.start()
    assert second.fencing is None
    first.close()
    assert second_heard.any.acquire(timeout=30)
    assert second.fencing == 2
    second.close()


def until(holds: object, timeout_s: float = 30.0) -> None:
    assert callable(holds)
    deadline_s, never = CLOCK.monotonic() + timeout_s, threading.Event()
    while not holds():
        assert CLOCK.monotonic() < deadline_s
        CLOCK.wait(never, 0.01)


class Counters:
    """Transactions that count up two rows, meeting after the first one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # SQLite lets one writer in at a time.
        self._barrier = threading.Barrier(1 if engine.dialect.name == "sqlite" else 2)
        self.tries = 0

    def add(self, session: Session) -> None:
        for link in ("a", "b"):
            session.add(BobAssignmentRow(link=link, alice="0", since=datetime.now(UTC)))

    def count_both(self, order: tuple[str, str]) -> None:
        def work(session: Session) -> None:
            self.tries += 1
            is_first_try = self.tries <= 2
            for link in order:
                session.execute(
                    text("UPDATE bob_assignment SET alice = alice + 1 WHERE link = :link"),
                    {"link": link},
                )
                if link == order[0] and is_first_try:
                    self._barrier.wait(30)

        in_transaction(self._engine, work)


def test_a_transaction_that_lost_a_deadlock_is_done_again(engine: Engine) -> None:
    """Two transactions take two rows in opposite order; on MariaDB one of them is the victim."""
    counters = Counters(engine)
    in_transaction(engine, counters.add)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(counters.count_both, [("a", "b"), ("b", "a")]))
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT alice FROM bob_assignment")).all()
    assert [float(count) for (count,) in rows] == [2, 2]
    victims = 0 if engine.dialect.name == "sqlite" else 1
    assert counters.tries == 2 + victims
