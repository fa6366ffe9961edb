"""What every driver of the optical switch promises; the fake and the real bytes alike."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from circuit_bench import Bench

from sdn_client.drivers.port import ConnectivityEvent, DeviceEvent
from sdn_client.errors import SwitchRefused, SwitchUnreachable
from sdn_client.topology import CrossConnect


def x(a: int, b: int) -> CrossConnect:
    return CrossConnect("polatis-1", a, b)


def table(bench: Bench) -> frozenset[CrossConnect]:
    return bench.driver.read_cross_connects("polatis-1")


def test_a_confirmed_batch_is_in_the_devices_table(bench: Bench) -> None:
    bench.driver.apply(connect=[x(1, 4), x(5, 7), x(17, 18)])
    assert table(bench) == {x(1, 4), x(5, 7), x(17, 18)}
    bench.driver.apply(disconnect=[x(5, 7), x(18, 17)])
    assert table(bench) == {x(1, 4)}


def test_asking_twice_changes_nothing(bench: Bench) -> None:
    bench.driver.apply(connect=[x(1, 2)])
    bench.driver.apply(connect=[x(1, 2)])
    bench.driver.apply(disconnect=[x(3, 6)])
    assert table(bench) == {x(1, 2)}


def test_an_empty_batch_is_done_at_once(bench: Bench) -> None:
    bench.driver.apply()
    assert table(bench) == frozenset()


def test_one_bob_is_replaced_by_another_in_one_batch(bench: Bench) -> None:
    bench.driver.apply(connect=[x(1, 2)])
    bench.driver.apply(disconnect=[x(1, 2)], connect=[x(1, 3)])
    assert table(bench) == {x(1, 3)}


@pytest.mark.parametrize("passages", [1, 2, 8])
def test_a_batch_takes_one_switching_time_and_not_one_each(bench: Bench, passages: int) -> None:
    pairs = [x(a, 17 - a) for a in range(1, passages + 1)]
    begun = time.monotonic()
    bench.driver.apply(connect=pairs)
    took_s = time.monotonic() - begun
    assert took_s >= 0.025  # the mirrors have settled
    if passages == 8:
        assert took_s < 0.15  # one after another would be 0.2 s
    assert table(bench) == set(pairs)


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ((1, 40), "port"),
        ((1, 18), "partition"),
        ((2, 2), "itself|fit together"),
        ((1, 5), "in use|joined"),
    ],
)
def test_a_refused_batch_leaves_nothing_behind(
    bench: Bench, pair: tuple[int, int], why: str
) -> None:
    bench.driver.apply(connect=[x(5, 6)])
    with pytest.raises(SwitchRefused, match=why):
        bench.driver.apply(connect=[x(3, 4), x(*pair), x(9, 10)])
    assert table(bench) == {x(5, 6)}


def test_a_refused_batch_keeps_what_was_joined_before(bench: Bench) -> None:
    bench.driver.apply(connect=[x(3, 4)])
    with pytest.raises(SwitchRefused):
        bench.driver.apply(connect=[x(3, 4), x(1, 18)])
    assert table(bench) == {x(3, 4)}


def test_a_device_that_is_gone_is_unreachable_and_says_so(bench: Bench) -> None:
    seen: list[ConnectivityEvent] = []
    gone, back = threading.Event(), threading.Event()

    def note(event: DeviceEvent) -> None:
        assert isinstance(event, ConnectivityEvent)
        seen.append(event)
        (back if event.connected else gone).set()

    unsubscribe = bench.driver.subscribe(note)
    bench.driver.apply(connect=[x(1, 2)])
    bench.cut()
    assert gone.wait(10)
    assert not bench.driver.chassis_states()["polatis-1"].connected
    with pytest.raises(SwitchUnreachable, match="polatis-1"):
        bench.driver.apply(connect=[x(1, 2)])
    with pytest.raises(SwitchUnreachable):
        table(bench)
    bench.bring_back()
    assert back.wait(10)
    assert bench.driver.chassis_states()["polatis-1"].connected
    assert table(bench) == frozenset()  # it lost its table with its power
    assert [e.connected for e in seen] == [False, True]
    unsubscribe()


def test_a_listener_may_call_the_driver(bench: Bench) -> None:
    read: list[frozenset[CrossConnect]] = []
    done = threading.Event()

    def reconcile(event: DeviceEvent) -> None:
        if isinstance(event, ConnectivityEvent) and event.connected:
            read.append(table(bench))
            done.set()

    bench.driver.subscribe(reconcile)
    bench.cut()
    bench.bring_back()
    assert done.wait(10)
    assert read == [frozenset()]


def test_batches_from_many_threads_do_not_disturb_each_other(bench: Bench) -> None:
    pairs = [x(a, 17 - a) for a in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: bench.driver.apply(connect=[pair]), pairs))
    assert table(bench) == set(pairs)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: bench.driver.apply(disconnect=[pair]), pairs))
    assert table(bench) == frozenset()


def test_a_closed_driver_is_unreachable(bench: Bench) -> None:
    bench.driver.close()
    with pytest.raises(SwitchUnreachable):
        bench.driver.apply(connect=[x(1, 2)])
