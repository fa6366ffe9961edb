"""A scaling that adds members here and removes others there: first all of the one, then the other,
at every moment as the database says, whoever looks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from member_room import MemberRoom
from sqlalchemy import Engine, select, text

from database import migrate, open_engine, reading, writing
from orchestrator.sol003.members.aggregate import Course
from orchestrator.sol003.members.occurrences import RemovalsNotDueError
from orchestrator.sol003.tables import MIGRATIONS, OccurrenceRow, migrate_sol003
from orchestrator.vnf_lcm.states import OnFailure, OperationAction, OperationKind, OperationState

S = OperationState
ADDED, REMOVED = OperationKind.INSTANTIATE, OperationKind.TERMINATE
BEFORE = {("web", 1), ("web", 2), ("web", 3), ("disk", 1)}
BOTH = BEFORE | {("disk", 2), ("disk", 3)}
AFTER = {("web", 1), ("disk", 1), ("disk", 2), ("disk", 3)}


@pytest.fixture
def room(engine: Engine, tmp_path: Path) -> Iterator[MemberRoom]:
    made = MemberRoom(engine, tmp_path / "catalogue")
    yield made
    made.conductor.close()


def three_and_one(room: MemberRoom) -> UUID:
    """A VNF of three `web` and one `disk`."""
    vnf = room.create()
    room.done(room.instantiate(vnf, web="dc-1", disk="dc-2"))
    room.done(room.scale(vnf, web=2, disk=0))
    assert room.members(vnf) == BEFORE
    return vnf


def mixed(room: MemberRoom, vnf: UUID, on_failure: OnFailure = OnFailure.ROLLBACK) -> UUID:
    """Two `disk` more and two `web` less."""
    return room.scale(vnf, web=0, disk=2, on_failure=on_failure)


def states(room: MemberRoom, occurrence: UUID, kind: OperationKind) -> list[S]:
    return [each.part.state for each in room.parts(occurrence, kind)]


def levels(room: MemberRoom, vnf: UUID) -> dict[str, int]:
    shape = room.instance(vnf).shape
    assert shape is not None
    return shape.scale_levels


def told(room: MemberRoom, occurrence: UUID) -> set[tuple[str, int, str, str | None]]:
    return {
        (each.vdu_id, each.number, each.change_type, each.operation_state)
        for each in room.document(occurrence).members or ()
    }


def test_nothing_goes_before_all_that_comes_is_there(room: MemberRoom) -> None:
    vnf = three_and_one(room)
    occurrence = mixed(room, vnf)
    one, other = room.parts(occurrence, ADDED)
    assert states(room, occurrence, REMOVED) == []
    assert told(room, occurrence) == {
        ("disk", 2, "ADDED", "STARTING"),
        ("disk", 3, "ADDED", "STARTING"),
        ("web", 2, "REMOVED", None),
        ("web", 3, "REMOVED", None),
    }, "what follows is told from the first moment on"
    room.do(one)
    room.conductor.react(occurrence)
    assert (room.state(occurrence), states(room, occurrence, REMOVED)) == (S.PROCESSING, [])
    room.do(other)
    assert room.state(occurrence) is S.PROCESSING, "half of it is to come"
    assert room.members(vnf) == BOTH
    assert levels(room, vnf) == {"web": 2, "disk": 0}
    assert room.document(occurrence).resource_changes is None
    room.conductor.react(occurrence)
    assert states(room, occurrence, REMOVED) == [S.STARTING, S.STARTING]
    assert room.instance(vnf).is_busy
    room.done(occurrence)
    assert room.state(occurrence) is S.COMPLETED
    assert room.members(vnf) == AFTER
    assert levels(room, vnf) == {"web": 0, "disk": 2}
    document = room.document(occurrence)
    assert document.resource_changes is not None
    affected = [
        (each.vdu_id, each.change_type) for each in document.resource_changes.affected_vnfcs
    ]
    assert affected == [("disk", "ADDED")] * 2 + [("web", "REMOVED")] * 2
    assert {each[2:] for each in told(room, occurrence)} == {
        ("ADDED", "COMPLETED"),
        ("REMOVED", "COMPLETED"),
    }
    assert "scale_to_level" in room.instance(vnf).allowed


def test_after_a_crash_between_the_phases_the_second_begins(
    room: MemberRoom, engine: Engine, tmp_path: Path
) -> None:
    """Nobody looked since the last addition came up; who starts knows the database alone."""
    vnf = three_and_one(room)
    occurrence = mixed(room, vnf)
    room.done(occurrence)
    restarted = MemberRoom(engine, tmp_path / "catalogue")
    restarted.conductor.start()
    try:
        assert restarted.woken.wait(30), "it begins the removals by itself"
    finally:
        restarted.conductor.close()
    assert states(restarted, occurrence, REMOVED) == [S.STARTING, S.STARTING]
    restarted.done(occurrence)
    assert restarted.state(occurrence) is S.COMPLETED
    assert restarted.members(vnf) == AFTER


def test_a_crash_while_the_second_begins_leaves_nothing_of_it(
    room: MemberRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    vnf = three_and_one(room)
    occurrence = mixed(room, vnf)
    room.done(occurrence)
    before = room.recorded()
    add = room.journal.add
    written: list[UUID] = []

    def dies_at_the_second(session: Any, operation_id: UUID, *args: Any, **more: Any) -> None:
        if written:
            raise ConnectionError("it dies here")
        written.append(operation_id)
        add(session, operation_id, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(room.journal, "add", dies_at_the_second)
        with pytest.raises(ConnectionError):
            room.conductor.react(occurrence)
    assert room.recorded() == before
    assert room.row(occurrence).then_removes
    assert not any(member.deployment.state == "REMOVING" for member in room.instance(vnf).members)
    room.conductor.react(occurrence)
    room.done(occurrence)
    assert (room.state(occurrence), room.members(vnf)) == (S.COMPLETED, AFTER)


def test_replicas_that_look_at_once_begin_it_once(
    room: MemberRoom, engine: Engine, tmp_path: Path
) -> None:
    vnf = three_and_one(room)
    occurrence = mixed(room, vnf)
    room.done(occurrence)
    others = [MemberRoom(engine, tmp_path / "catalogue") for _ in range(2)]
    conductors = [each.conductor for each in (room, *others)] * 2
    with ThreadPoolExecutor(len(conductors)) as pool:
        list(pool.map(lambda each: each.react(occurrence), conductors))
    assert states(room, occurrence, REMOVED) == [S.STARTING, S.STARTING]
    room.done(occurrence)
    for each in conductors:
        each.react(occurrence)
    assert (room.state(occurrence), room.members(vnf)) == (S.COMPLETED, AFTER)
    assert len(room.occurrences.parts(occurrence)) == 4


def test_an_addition_that_fails_leaves_the_vnf_as_it_was(room: MemberRoom) -> None:
    vnf = three_and_one(room)
    occurrence = mixed(room, vnf)
    one, other = room.parts(occurrence, ADDED)
    room.do(one)
    room.move(other.operation_id, S.PROCESSING, S.ROLLING_BACK, S.ROLLED_BACK)
    assert room.state(occurrence) is S.ROLLING_BACK
    room.conductor.react(occurrence)
    assert states(room, occurrence, REMOVED) == []
    assert {each[2] for each in told(room, occurrence)} == {"ADDED"}, "nothing follows any more"
    (undoing,) = room.occurrences.undoings(occurrence, one.deployment_id)
    room.move(undoing.operation_id, S.PROCESSING, S.COMPLETED)
    assert room.state(occurrence) is S.ROLLED_BACK
    room.conductor.react(occurrence)
    assert room.members(vnf) == BEFORE
    assert levels(room, vnf) == {"web": 2, "disk": 0}
    assert "scale_to_level" in room.instance(vnf).allowed


def test_a_held_addition_holds_the_removals_too(room: MemberRoom) -> None:
    vnf = three_and_one(room)
    occurrence = mixed(room, vnf, OnFailure.HOLD)
    one, other = room.parts(occurrence, ADDED)
    room.do(one)
    room.move(other.operation_id, S.PROCESSING, S.FAILED_TEMP)
    room.conductor.react(occurrence)
    assert (room.state(occurrence), states(room, occurrence, REMOVED)) == (S.FAILED_TEMP, [])
    room.conductor.ask(room.row(occurrence), OperationAction.RETRY)
    room.do(other)
    room.conductor.react(occurrence)
    assert states(room, occurrence, REMOVED) == [S.STARTING, S.STARTING]
    room.done(occurrence)
    assert (room.state(occurrence), room.members(vnf)) == (S.COMPLETED, AFTER)


def test_given_up_it_removes_nothing(room: MemberRoom) -> None:
    vnf = three_and_one(room)
    occurrence = mixed(room, vnf, OnFailure.HOLD)
    one, other = room.parts(occurrence, ADDED)
    room.do(one)
    room.move(other.operation_id, S.FAILED_TEMP)
    room.conductor.ask(room.row(occurrence), OperationAction.FAIL)
    room.conductor.react(occurrence)
    assert (room.state(occurrence), states(room, occurrence, REMOVED)) == (S.FAILED, [])
    assert room.members(vnf) >= BEFORE
    assert levels(room, vnf) == {"web": 2, "disk": 0}


def test_cancelled_between_the_phases_it_is_turned_back(room: MemberRoom) -> None:
    vnf = three_and_one(room)
    occurrence = mixed(room, vnf)
    room.done(occurrence)
    room.conductor.ask(room.row(occurrence), OperationAction.CANCEL)
    assert room.state(occurrence) is S.ROLLING_BACK
    with pytest.raises(RemovalsNotDueError), writing(room.engine) as session:
        # Another replica looked before and comes after.
        room.occurrences.begin_removals(session, occurrence, [])
    assert states(room, occurrence, REMOVED) == []
    for added in room.parts(occurrence, ADDED):
        (undoing,) = room.occurrences.undoings(occurrence, added.deployment_id)
        room.move(undoing.operation_id, S.PROCESSING, S.COMPLETED)
    assert room.state(occurrence) is S.ROLLED_BACK
    assert (room.members(vnf), levels(room, vnf)) == (BEFORE, {"web": 2, "disk": 0})


def test_a_cancellation_and_the_removals_at_the_same_moment(room: MemberRoom) -> None:
    """Either comes first; then what was added goes, or stays, and never both."""
    vnf = three_and_one(room)
    for _ in range(6):
        occurrence = mixed(room, vnf)
        room.done(occurrence)
        with ThreadPoolExecutor(2) as pool:
            removing = pool.submit(room.conductor.react, occurrence)
            cancelled = pool.submit(
                room.occurrences.decide, occurrence, OperationAction.CANCEL
            ).result()
            removing.result()
        assert cancelled
        begun = bool(room.parts(occurrence, REMOVED))
        assert (room.row(occurrence).course == Course.BACK) is not begun
        room.conductor.react(occurrence)
        undone = [
            row
            for part in room.parts(occurrence, ADDED)
            for row in room.occurrences.undoings(occurrence, part.deployment_id)
        ]
        if begun:
            assert undone == []
            for part in room.parts(occurrence, REMOVED):
                assert part.part.cancel_requested or part.part.state is not S.STARTING
                room.move(part.operation_id, S.ROLLED_BACK)
            assert (room.state(occurrence), room.members(vnf)) == (S.FAILED, BOTH)
            room.done(room.scale(vnf, web=2, disk=0))
        else:
            for row in undone:
                room.move(row.operation_id, S.PROCESSING, S.COMPLETED)
            assert room.state(occurrence) is S.ROLLED_BACK
        assert room.members(vnf) == BEFORE


def test_a_removal_that_fails_takes_nothing_of_what_was_added(room: MemberRoom) -> None:
    vnf = three_and_one(room)
    occurrence = mixed(room, vnf)
    room.done(occurrence)
    room.conductor.react(occurrence)
    one, other = room.parts(occurrence, REMOVED)
    room.move(one.operation_id, S.PROCESSING, S.ROLLING_BACK, S.ROLLED_BACK)
    room.do(other)
    room.conductor.react(occurrence)
    assert room.state(occurrence) is S.FAILED
    stays = AFTER | {(one.vdu_id, one.number)}
    assert room.members(vnf) == stays
    assert levels(room, vnf) == {"web": 2, "disk": 0}, "it is at the new ones once that completes"
    again = mixed(room, vnf)
    assert not room.row(again).then_removes
    assert states(room, again, REMOVED) == [S.STARTING]
    room.done(again)
    assert (room.members(vnf), levels(room, vnf)) == (AFTER, {"web": 0, "disk": 2})


def test_what_somebody_else_does_with_one_that_goes_is_waited_for(room: MemberRoom) -> None:
    vnf = three_and_one(room)
    there = {(each.vdu_id, each.number): each.deployment for each in room.instance(vnf).members}
    occurrence = mixed(room, vnf)
    room.done(occurrence)
    removed = there["web", 3].deployment_id
    room.lifecycle.changes.remove(removed)  # by /api/v1
    room.conductor.react(occurrence)
    assert (room.state(occurrence), states(room, occurrence, REMOVED)) == (S.PROCESSING, [])
    room.move(room.journal.of_deployment(removed)[-1].operation_id, S.PROCESSING, S.COMPLETED)
    room.conductor.react(occurrence)
    (left,) = room.parts(occurrence, REMOVED)
    assert (left.vdu_id, left.number) == ("web", 2)
    room.done(occurrence)
    assert (room.state(occurrence), room.members(vnf)) == (S.COMPLETED, AFTER)


def test_where_all_that_goes_is_gone_it_is_completed(room: MemberRoom) -> None:
    vnf = three_and_one(room)
    leaving = [
        each.deployment.deployment_id
        for each in room.instance(vnf).members
        if each.vdu_id == "web" and each.number > 1
    ]
    occurrence = mixed(room, vnf)
    room.done(occurrence)
    for removed in leaving:
        room.lifecycle.changes.remove(removed)
        room.move(room.journal.of_deployment(removed)[-1].operation_id, S.PROCESSING, S.COMPLETED)
    assert room.state(occurrence) is S.PROCESSING
    room.conductor.react(occurrence)
    assert (room.state(occurrence), room.members(vnf)) == (S.COMPLETED, AFTER)
    assert levels(room, vnf) == {"web": 0, "disk": 2}


def test_a_step_in_makes_a_member_that_went_otherwise_anew(room: MemberRoom) -> None:
    vnf = three_and_one(room)
    disk = next(each for each in room.instance(vnf).members if each.vdu_id == "disk").deployment
    room.lifecycle.changes.remove(disk.deployment_id)
    room.move(
        room.journal.of_deployment(disk.deployment_id)[-1].operation_id, S.PROCESSING, S.COMPLETED
    )
    occurrence = room.scale(vnf, "SCALE", web=1, disk=0)
    room.done(occurrence)
    room.conductor.react(occurrence)
    room.done(occurrence)
    assert room.state(occurrence) is S.COMPLETED
    assert room.members(vnf) == {("web", 1), ("web", 2), ("disk", 1)}


def test_occurrences_of_before_remove_nothing_afterwards(database_url: str) -> None:
    engine = open_engine(database_url)
    migrate(engine, MIGRATIONS, room="sol003", revision="0004")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sol003_occurrence (occurrence_id, vnf_instance_id, kind, adds, state,"
                " course, tries, cancel_requested, on_failure, parameters, created_at, entered_at)"
                " VALUES (:id, :id, 'SCALE', 1, 'PROCESSING', 'FORWARD', 1, 0, 'rollback', '{}',"
                " 1, 1)"
            ).bindparams(id=uuid4().bytes)
        )
    migrate_sol003(engine)
    with reading(engine) as session:
        (row,) = session.scalars(select(OccurrenceRow))
        assert (row.adds, row.then_removes) == (True, False)
    engine.dispose()
