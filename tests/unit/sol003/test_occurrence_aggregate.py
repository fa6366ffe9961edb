"""What an occurrence over several members is, for every combination of their states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sol003.members.aggregate import (
    COURSE_MEANING,
    Course,
    Decided,
    Part,
    Reaction,
    course_of,
    reactions,
    removals_are_due,
    state_of,
)
from orchestrator.vnf_lcm.states import ADMISSIBLE, AT_REST, ENDED, OperationState

S = OperationState
WAITS = set(ADMISSIBLE)


def settled(decided: Decided, parts: list[Part]) -> tuple[Decided, OperationState]:
    decided = replace(decided, course=course_of(decided, parts))
    return decided, state_of(decided, parts)


@pytest.mark.parametrize(("one", "other"), list(product(S, S)))
def test_members_that_come_up_together(one: S, other: S) -> None:
    """Every pair of states of an instantiation about which nobody decided anything."""
    decided, state = settled(Decided(adds=True), [Part(one), Part(other)])
    states = {one, other}
    if states & {S.ROLLING_BACK, S.ROLLED_BACK}:
        assert decided.course is Course.BACK, "one that fails turns the other back"
        assert state is (S.ROLLED_BACK if states == {S.ROLLED_BACK} else S.ROLLING_BACK)
    elif states <= WAITS:
        assert state is S.STARTING
    elif states & {*WAITS, S.PROCESSING}:
        assert state is S.PROCESSING
    elif S.FAILED_TEMP in states:
        assert state is S.FAILED_TEMP
    else:
        assert state is (S.COMPLETED if states == {S.COMPLETED} else S.FAILED)


@pytest.mark.parametrize(("one", "other"), list(product(S, S)))
def test_members_that_come_up_before_others_go(one: S, other: S) -> None:
    """As those of an instantiation, but that being there is only half of it."""
    parts = [Part(one), Part(other)]
    decided, state = settled(Decided(adds=True, then_removes=True), parts)
    if {one, other} == {S.COMPLETED}:
        assert state is S.PROCESSING
        assert removals_are_due(decided, parts)
    else:
        alone, alike = settled(Decided(adds=True), parts)
        assert (decided.course, state) == (alone.course, alike)
        assert not removals_are_due(decided, parts)


def test_what_was_decided_before_the_removals_keeps_them_from_beginning() -> None:
    there = [Part(S.COMPLETED), Part(S.COMPLETED)]
    forward = Decided(adds=True, then_removes=True)
    cancelled, state = settled(replace(forward, cancel_requested=True), there)
    assert (cancelled.course, state) == (Course.BACK, S.ROLLING_BACK), "too late for each of them"
    assert reactions(cancelled, there) == [Reaction.REMOVE, Reaction.REMOVE]
    given_up, state = settled(replace(forward, course=Course.GIVEN_UP), there)
    assert state is S.FAILED
    for decided in (cancelled, given_up, Decided(adds=True), Decided(adds=False)):
        assert not removals_are_due(decided, there)


def test_what_was_added_stays_once_removals_began() -> None:
    there = [Part(S.COMPLETED), Part(S.ROLLED_BACK)]
    for course in Course:
        decided = Decided(adds=False, course=course, cancel_requested=True)
        assert reactions(decided, there) == [None, None]
        assert settled(decided, there)[1] is S.FAILED


@pytest.mark.parametrize(("one", "other"), list(product(S, S)))
def test_members_that_are_changed_together(one: S, other: S) -> None:
    """What others did is kept where one of a stop, a healing or a removal fails."""
    decided, state = settled(Decided(adds=False), [Part(one), Part(other)])
    states = {one, other}
    assert decided.course is Course.FORWARD
    if states <= WAITS:
        assert state is S.STARTING
    elif states & {*WAITS, S.PROCESSING}:
        assert state is S.PROCESSING
    elif S.ROLLING_BACK in states:
        assert state is S.ROLLING_BACK
    elif S.FAILED_TEMP in states:
        assert state is S.FAILED_TEMP
    else:
        assert state is (one if one is other else S.FAILED)


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("is_gone", [False, True])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("course", Course)
@pytest.mark.parametrize("cancel_requested", [False, True])
def test_what_is_done_with_a_member(
    state: S, is_gone: bool, adds: bool, course: Course, cancel_requested: bool
) -> None:
    decided = Decided(adds, course, cancel_requested=cancel_requested)
    (reaction,) = reactions(decided, [Part(state, is_gone=is_gone)])
    (again,) = reactions(decided, [Part(state, cancel_requested=True, is_gone=is_gone)])
    back = adds and course is Course.BACK
    if state is S.FAILED_TEMP:
        expected = {Course.BACK: Reaction.ROLLBACK, Course.GIVEN_UP: Reaction.FAIL}
        assert reaction is expected.get(course)
    elif state in WAITS or state is S.PROCESSING:
        assert reaction is (Reaction.CANCEL if back or cancel_requested else None)
        assert again is None, "nobody is asked twice"
    elif state in (S.COMPLETED, S.FAILED) and back and not is_gone:
        assert reaction is Reaction.REMOVE
    else:
        assert reaction is None


def test_a_retry_is_of_those_that_are_held() -> None:
    decided = Decided(adds=True, tries=2)
    parts = [Part(S.FAILED_TEMP, tries=1), Part(S.COMPLETED), Part(S.FAILED_TEMP, tries=2)]
    assert reactions(decided, parts) == [Reaction.RETRY, None, None]
    assert state_of(decided, parts) is S.PROCESSING, "it cannot be asked for once more meanwhile"
    assert state_of(decided, parts[1:]) is S.FAILED_TEMP


def test_what_was_decided_shows_before_the_members_know_it() -> None:
    held = [Part(S.FAILED_TEMP), Part(S.COMPLETED)]
    for adds in (True, False):
        assert state_of(Decided(adds, Course.BACK), held) is S.ROLLING_BACK
        assert state_of(Decided(adds, Course.GIVEN_UP), held) is S.PROCESSING
    assert state_of(Decided(True, Course.BACK), [Part(S.COMPLETED, is_gone=True)]) is S.ROLLED_BACK


def test_every_course_has_its_meaning() -> None:
    assert set(COURSE_MEANING) == set(Course)


# --- whatever happens in whatever order, it comes to its end

_AFTER = {
    S.STARTING: [S.WAITING_FOR_KEY, S.WAITING_CIRCUIT, S.PROCESSING],
    S.WAITING_FOR_KEY: [S.WAITING_CIRCUIT, S.PROCESSING],
    S.WAITING_CIRCUIT: [S.PROCESSING],
    S.PROCESSING: [S.COMPLETED],
    S.ROLLING_BACK: [S.ROLLED_BACK],
}


def failing(part: Part, *, hold: bool) -> Part:
    if part.state in WAITS:
        return replace(part, state=S.FAILED_TEMP if hold else S.ROLLED_BACK)
    return replace(part, state=S.FAILED_TEMP if hold else S.ROLLING_BACK)


def done(part: Part, reaction: Reaction, *, hold: bool) -> Part:
    """What the engine makes of it."""
    match reaction:
        case Reaction.CANCEL:
            return failing(replace(part, cancel_requested=True), hold=hold)
        case Reaction.RETRY:
            again = part.tries + 1
            return replace(part, state=S.STARTING, tries=again, cancel_requested=False)
        case Reaction.ROLLBACK:
            return replace(part, state=S.ROLLING_BACK)
        case Reaction.FAIL:
            return replace(part, state=S.FAILED)
        case Reaction.REMOVE:
            return replace(part, is_gone=True)


class Story:
    """Members and what is decided of them, as the engine and people change them."""

    def __init__(self, members: int, *, hold: bool, removals: int | None = None) -> None:
        """`removals`: so many go once all others are there."""
        self.parts = [Part(S.STARTING) for _ in range(members)]
        self.decided = Decided(adds=True, then_removes=removals is not None)
        self.hold = hold
        self.removals = removals
        self.added = members

    @property
    def removes(self) -> bool:
        """Its removals began."""
        return not self.decided.adds

    @property
    def state(self) -> S:
        self.decided, state = settled(self.decided, self.parts)
        return state

    def on(self, which: int, way: int) -> None:
        ways = _AFTER.get(self.parts[which].state)
        if ways is not None:
            self.parts[which] = replace(self.parts[which], state=ways[way % len(ways)])

    def fail(self, which: int, _: int) -> None:
        part = self.parts[which]
        if part.state in WAITS or part.state is S.PROCESSING:
            self.parts[which] = failing(part, hold=self.hold)

    def react(self, which: int, _: int = 0) -> None:
        wanted = reactions(self.decided, self.parts)[which]
        if wanted is not None:
            self.parts[which] = done(self.parts[which], wanted, hold=self.hold)

    def cancel(self, *_: int) -> None:
        if self.state in (S.STARTING, S.PROCESSING):
            self.decided = replace(self.decided, cancel_requested=True)

    def retry(self, *_: int) -> None:
        if self.state is S.FAILED_TEMP:
            tries = self.decided.tries + 1
            self.decided = replace(self.decided, tries=tries, cancel_requested=False)

    def decide(self, _: int, way: int) -> None:
        if self.state is S.FAILED_TEMP:
            course = Course.BACK if way else Course.GIVEN_UP
            self.decided = replace(self.decided, course=course)

    def begin_removals(self, *_: int) -> None:
        if self.state not in ENDED and removals_are_due(self.decided, self.parts):
            self.decided = replace(self.decided, adds=False, then_removes=False, tries=1)
            self.parts += [Part(S.STARTING)] * (self.removals or 0)

    def to_its_end(self) -> None:
        for _ in range(30 * (self.added + (self.removals or 0))):
            for which in range(len(self.parts)):
                if self.state in ENDED:
                    return
                self.react(which)
                self.on(which, -1)
            self.begin_removals()


@given(
    members=st.integers(1, 5),
    hold=st.booleans(),
    what=st.lists(
        st.tuples(
            st.sampled_from(
                (Story.on, Story.fail, Story.react, Story.cancel, Story.retry, Story.decide)
            ),
            st.integers(0, 4),
            st.integers(0, 2),
        ),
        max_size=60,
    ),
)
def test_all_or_nothing_in_any_order(
    members: int, hold: bool, what: list[tuple[Callable[[Story, int, int], None], int, int]]
) -> None:
    story = Story(members, hold=hold)
    for event, which, way in what:
        if story.state in ENDED:
            break
        event(story, which % members, way)
    story.to_its_end()
    state = story.state
    assert state in AT_REST, "it never stays under way"
    if state is S.COMPLETED:
        assert all(part.state is S.COMPLETED for part in story.parts)
    if state is S.ROLLED_BACK:
        assert all(part.is_gone or part.state is S.ROLLED_BACK for part in story.parts)


@given(
    members=st.integers(1, 4),
    removals=st.integers(0, 3),
    hold=st.booleans(),
    what=st.lists(
        st.tuples(
            st.sampled_from(
                (
                    Story.on,
                    Story.on,
                    Story.fail,
                    Story.react,
                    Story.cancel,
                    Story.retry,
                    Story.decide,
                    Story.begin_removals,
                )
            ),
            st.integers(0, 6),
            st.integers(0, 2),
        ),
        max_size=60,
    ),
)
def test_nothing_goes_before_all_is_there_and_nothing_of_that_afterwards(
    members: int,
    removals: int,
    hold: bool,
    what: list[tuple[Callable[[Story, int, int], None], int, int]],
) -> None:
    story = Story(members, hold=hold, removals=removals)
    for event, which, way in what:
        if story.state in ENDED:
            break
        event(story, which % len(story.parts), way)
    story.to_its_end()
    state, added, removed = story.state, story.parts[:members], story.parts[members:]
    assert state in AT_REST, "it never stays under way"
    if story.removes:
        assert all(part.state is S.COMPLETED and not part.is_gone for part in added)
        assert state is not S.ROLLED_BACK
        assert len(removed) == removals
    else:
        assert state is not S.COMPLETED
        assert removed == []
    if state is S.COMPLETED:
        assert all(part.state is S.COMPLETED for part in story.parts)
    if state is S.ROLLED_BACK:
        assert all(part.is_gone or part.state is S.ROLLED_BACK for part in added)
