"""One leader at a time, by a row with an expiry in the database's own time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from sqlalchemy import Engine, text

from orchestrator.schedule.lease import Lease


def expire(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE lease SET expires_at_us = 1"))


def test_the_holder_renews_and_others_wait(engine: Engine) -> None:
    first, second = Lease(engine, "schedule", uuid4()), Lease(engine, "schedule", uuid4())
    assert first.acquire() == 1
    assert first.acquire() == 1
    assert second.acquire() is None


def test_a_new_leader_has_a_higher_number(engine: Engine) -> None:
    first, second = Lease(engine, "schedule", uuid4()), Lease(engine, "schedule", uuid4())
    first.acquire()
    expire(engine)
    assert second.acquire() == 2
    assert first.acquire() is None
    second.release()
    assert first.acquire() == 3


def test_who_let_it_lapse_gets_a_new_number_too(engine: Engine) -> None:
    lease = Lease(engine, "schedule", uuid4())
    lease.acquire()
    expire(engine)
    assert lease.acquire() == 2


def test_of_many_at_once_one_leads(engine: Engine) -> None:
    barrier = threading.Barrier(8)

    def take(_: int) -> int | None:
        lease = Lease(engine, "schedule", uuid4())
        barrier.wait(30)
        return lease.acquire()

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for number in pool.map(take, range(8)) if number is not None]
    assert numbers == [1]
