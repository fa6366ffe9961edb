"""Barriers' promise for any burst of requests, whatever the device's timing."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from sdn_client.optical_agent.ordering import Item, Kind, Ordering


@dataclass
class History:
    """Starts and ends of requests, numbered in the order in which they came."""

    kinds: list[Kind]
    ports: list[frozenset[int] | None]
    started: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)

    def touch(self, a: int, b: int) -> bool:
        p, q = self.ports[a], self.ports[b]
        return p is None or q is None or bool(p & q)


requests = st.lists(
    st.tuples(
        st.sampled_from(list(Kind)),
        st.one_of(st.none(), st.frozensets(st.integers(1, 6), min_size=1, max_size=2)),
    ),
    max_size=30,
)


def run(given_requests: list[tuple[Kind, frozenset[int] | None]], data: st.DataObject) -> History:
    """Let the burst come and the device finish in an order that hypothesis draws."""
    history = History([k for k, _ in given_requests], [p for _, p in given_requests])
    ordering: Ordering[int] = Ordering()
    on_device: list[Item[int]] = []
    done: set[int] = set()

    def start(item: Item[int]) -> bool:
        number = item.work
        if item.kind in (Kind.ANSWER, Kind.BARRIER):
            history.answered.append(number)
            return True
        # Nothing before it that it depends on is unfinished.
        for earlier in set(range(number)) - done:
            if history.kinds[earlier] is Kind.CHANGE and history.kinds[number] is Kind.CHANGE:
                assert not history.touch(earlier, number)
            if history.kinds[earlier] is Kind.CHANGE:
                assert history.kinds[number] is not Kind.LOOK
        history.started.append(number)
        on_device.append(item)
        return False

    coming = list(enumerate(given_requests))
    while coming or on_device:
        if coming and (not on_device or data.draw(st.booleans())):
            number, (kind, ports) = coming.pop(0)
            ordering.add(Item(kind, number, lambda ports=ports: ports))
        else:
            item = on_device.pop(data.draw(st.integers(0, len(on_device) - 1)))
            done.add(item.work)
            if item.kind is Kind.LOOK:
                history.answered.append(item.work)
                ordering.finish(item)
            else:
                ordering.answer(item, item.work)
        ordering.advance(start)
    assert len(ordering) == 0
    return history


@given(requests, st.data())
def test_all_is_done_and_nothing_is_told_on_the_wrong_side_of_a_barrier(
    given_requests: list[tuple[Kind, frozenset[int] | None]], data: st.DataObject
) -> None:
    history = run(given_requests, data)
    told = {number: at for at, number in enumerate(history.answered)}
    assert sorted(told) == list(range(len(given_requests)))
    for barrier, kind in enumerate(history.kinds):
        if kind is Kind.BARRIER:
            assert all((told[n] < told[barrier]) == (n < barrier) for n in told if n != barrier)


def test_changes_of_different_ports_start_across_barriers() -> None:
    ordering: Ordering[str] = Ordering()
    started: list[str] = []

    def start(item: Item[str]) -> bool:
        started.append(item.work)
        return item.kind in (Kind.ANSWER, Kind.BARRIER)

    for work, kind, ports in [
        ("1-2", Kind.CHANGE, {1, 2}),
        ("barrier", Kind.BARRIER, set()),
        ("3-4", Kind.CHANGE, {3, 4}),
        ("2-5", Kind.CHANGE, {2, 5}),
        ("5-6", Kind.CHANGE, {5, 6}),
        ("answer", Kind.ANSWER, set()),
    ]:
        ordering.add(Item(kind, work, lambda ports=ports: frozenset(ports)))
        ordering.advance(start)
    # 5-6 touches 2-5, which waits itself: order within ports holds through chains.
    assert started == ["1-2", "3-4"]
