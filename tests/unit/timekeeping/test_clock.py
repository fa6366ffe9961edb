"""Clocks: scaled waiting, and a fake that only moves by hand."""

from __future__ import annotations

import threading
import time

import pytest

from timekeeping import FakeClock, QkdClock


def test_qkd_time_runs_at_its_scale() -> None:
    clock = QkdClock(scale=1000)
    started = time.monotonic()
    assert clock.wait(threading.Event(), 50.0) is False
    assert 0.05 <= time.monotonic() - started < 5
    assert clock.monotonic() >= 50.0
    assert clock.real_s(1265.0) == pytest.approx(1.265)


@pytest.mark.parametrize("scale", [0, -1])
def test_a_scale_that_stops_time_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        QkdClock(scale)


def test_the_fake_wakes_its_waiters_when_moved() -> None:
    clock = FakeClock()
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(clock.wait(threading.Event(), 10)))
    waiter.start()
    clock.advance(5)
    clock.advance(5)
    waiter.join(5)
    assert answers == [False]
    assert clock.monotonic() == 10
