"""Work in rounds: now or after a pause, again after each pause, and never after the end."""

from __future__ import annotations

import threading

import pytest

from timekeeping import FakeClock, Rounds, SystemClock


def next_round(done: threading.Semaphore, clock: FakeClock) -> None:
    """Lets pauses pass until the work is done once more; the thread may not be in its pause yet."""
    for _ in range(500):
        clock.advance(10)
        if done.acquire(timeout=0.02):
            return
    pytest.fail("no further round came")


def test_rounds_come_after_each_pause_until_the_end() -> None:
    done = threading.Semaphore(0)
    clock = FakeClock()
    rounds = Rounds("r", done.release, clock, 10)
    rounds.start()
    assert done.acquire(timeout=10)
    assert not done.acquire(timeout=0.05)
    for _ in range(3):
        next_round(done, clock)
    rounds.close()
    while done.acquire(blocking=False):  # of a pause too many that was let pass
        pass
    clock.advance(100)
    assert not done.acquire(timeout=0.05)


def test_who_pauses_first_does_nothing_before() -> None:
    done = threading.Semaphore(0)
    clock = FakeClock()
    rounds = Rounds("r", done.release, clock, 10, pauses_first=True)
    rounds.start()
    assert not done.acquire(timeout=0.05)
    next_round(done, clock)
    rounds.close()


def test_who_is_woken_does_not_wait_for_the_pause() -> None:
    done = threading.Semaphore(0)
    rounds = Rounds("r", done.release, FakeClock(), 10)
    rounds.start()
    for _ in range(3):
        assert done.acquire(timeout=10)
        rounds.wake()
    assert done.acquire(timeout=10)
    assert not done.acquire(timeout=0.05)
    rounds.close()


@pytest.mark.parametrize("pauses_first", [False, True])
def test_an_end_that_comes_first_is_the_end(pauses_first: bool) -> None:
    done: list[int] = []
    rounds = Rounds("r", lambda: done.append(1), SystemClock(), 0.001, pauses_first=pauses_first)
    rounds.close()
    rounds.start()
    rounds.close()
    assert done == []
