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
    gathered: list[Item[int]] = []
    on_device: list[Item[int]] = []
    done: set[int] = set()

    def start(item: Item[int]) -> bool:
        number = item.work
        if item.kind in (Kind.ANSWER, Kind.BARRIER):
            history.answered.append(number)
            return True
        # Nothing before it that it depends on is unfinished, or it goes together with that.
        parts = {i.work for i in gathered if history.kinds[i.work] is Kind.PART}
        together = parts if item.kind is Kind.JOIN else set()
        for earlier in set(range(number)) - done:
            if history.kinds[earlier].is_change and item.kind.is_change:
                assert earlier in together or not history.touch(earlier, number)
            if history.kinds[earlier].is_change:
                assert item.kind is not Kind.LOOK
        history.started.append(number)
        (gathered if item.kind.is_change else on_device).append(item)
        return False

    coming = list(enumerate(given_requests))
    while coming or gathered or on_device:
        if coming and (not (gathered or on_device) or data.draw(st.booleans())):
            number, (kind, ports) = coming.pop(0)
            ordering.add(Item(kind, number, lambda ports=ports: ports))
        elif gathered and (not on_device or data.draw(st.booleans())):
            ordering.begin(*gathered)
            on_device, gathered = on_device + gathered, []
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
        ("1-2", Kind.JOIN, {1, 2}),
        ("barrier", Kind.BARRIER, set()),
        ("3-4", Kind.JOIN, {3, 4}),
        ("2-5", Kind.JOIN, {2, 5}),
        ("5-6", Kind.JOIN, {5, 6}),
        ("answer", Kind.ANSWER, set()),
    ]:
        ordering.add(Item(kind, work, lambda ports=ports: frozenset(ports)))
        ordering.advance(start)
    # 5-6 touches 2-5, which waits itself: order within ports holds through chains.
    assert started == ["1-2", "3-4"]


def test_a_join_goes_together_with_a_tear_down_until_the_device_has_it() -> None:
    ordering: Ordering[str] = Ordering()
    started: list[Item[str]] = []

    def start(item: Item[str]) -> bool:
        started.append(item)
        return False

    def ask(work: str, kind: Kind, *ports: int) -> None:
        ordering.add(Item(kind, work, lambda: frozenset(ports)))
        ordering.advance(start)

    ask("part 1-2", Kind.PART, 1, 2)
    ask("join 1-3", Kind.JOIN, 1, 3)
    ask("part 3-1", Kind.PART, 1, 3)  # of what is joined in that batch: the next one
    ask("join 2-3", Kind.JOIN, 2, 3)  # behind it
    assert [item.work for item in started] == ["part 1-2", "join 1-3"]
    ordering.begin(*started)
    ask("join 2-4", Kind.JOIN, 2, 4)  # too late for that batch
    assert len(started) == 2
    ordering.finish(*started)
    ordering.advance(start)
    assert [item.work for item in started[2:]] == ["part 3-1", "join 2-3"]
