"""The paper's policy: who needs keys is served in turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qkd_scheduler.policies import BobView, Choice
from qkd_scheduler.policies.sequential import Sequential


def bob(link: str, level: int = 0, last_served: int = 0, waiting: int = 0) -> BobView:
    return BobView(link, level, 64, 4096, waiting, last_served)


def test_nobody_is_served_who_needs_nothing() -> None:
    assert Sequential()([bob("a", level=64), bob("b", level=4096)]) is None
    assert Sequential()([]) is None


def test_who_waits_is_served_even_with_a_full_enough_pool() -> None:
    choice = Sequential(slot_s=60)([bob("a", level=100), bob("b", level=4096, waiting=1)])
    assert choice == Choice("b", 60)


def test_bobs_take_turns() -> None:
    served = []
    last = {"a": 0, "b": 0, "c": 0}
    for number in range(1, 7):
        choice = Sequential()([bob(link, last_served=n) for link, n in last.items()])
        assert choice is not None
        last[choice.link] = number
        served.append(choice.link)
    assert served == ["a", "b", "c", "a", "b", "c"]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(1, 50))
def test_no_needy_bob_waits_for_more_than_all_others(past: list[int], turns: int) -> None:
    last = {f"bob-{i}": number for i, number in enumerate(past)}
    since = dict.fromkeys(last, 0)
    for number in range(100, 100 + turns):
        choice = Sequential()([bob(link, last_served=n) for link, n in last.items()])
        assert choice is not None
        last[choice.link] = number
        since = {link: 0 if link == choice.link else age + 1 for link, age in since.items()}
        assert max(since.values()) < len(last)
