"""The page on keys says what the table of states and the standard's fixed messages say."""

from __future__ import annotations

from pathlib import Path

from key_management.etsi014.documents import KEYS_NOT_FOUND, MANDATORY_UNSUPPORTED
from key_management.states import ALLOWED, MEANING, KeyState

PAGE = (Path(__file__).parents[3] / "docs" / "keys.md").read_text()


def test_every_state_is_there_with_its_meaning() -> None:
    for state in KeyState:
        assert f"| {state.value} | {MEANING[state]} |" in PAGE


def test_the_picture_has_every_state_and_the_ends_have_no_way_out() -> None:
    picture = PAGE.split("```")[1]
    assert all(state.value in picture for state in KeyState)
    ends = {state for state in KeyState if not ALLOWED[state]}
    assert ends == {KeyState.CONSUMED, KeyState.BURNED, KeyState.EXPIRED}
    for line in picture.splitlines():
        for state in ends & {state for state in KeyState if state.value in line}:
            assert line.rstrip().endswith(state.value), "nothing leaves it to the right"


def test_the_fixed_messages_are_quoted() -> None:
    assert f'"{KEYS_NOT_FOUND}"' in PAGE
    assert f'"{MANDATORY_UNSUPPORTED}"' in PAGE
