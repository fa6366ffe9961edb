"""Occurrences over several members in the database: each is as its members, at every moment."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from database import migrate, open_engine, reading, writing
from orchestrator.events.bus import EventBus
from orchestrator.projects.ownership import NoProjects
from orchestrator.sol003.errors import VnfInstanceStateError
from orchestrator.sol003.instance import Instance
from orchestrator.sol003.instances import VnfInstances
from orchestrator.sol003.members.occurrences import Occurrences
from orchestrator.sol003.members.settling import occurrence_follows
from orchestrator.sol003.members.shape import Shape, Slot
from orchestrator.sol003.notifications.tables import NotificationRow, SubscriptionRow
from orchestrator.sol003.onboarding.tables import PackageImageRow
from orchestrator.sol003.packages import Deployable
from orchestrator.sol003.tables import (
    MIGRATIONS,
    InstantiationRow,
    OccurrenceRow,
    migrate_sol003,
)
from orchestrator.store.tables import DeploymentRow, OperationRow
from orchestrator.vnf_lcm.outcome import deployment_follows
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.states import OperationAction, OperationKind, OperationState
from orchestrator.workflow.journal import OperationJournal
from timekeeping import SystemClock

S = OperationState
EVERY = tuple(S)


def follow(session: Session, operation: OperationRow, now: datetime) -> None:
    deployment_follows(session, operation, now)
    assert occurrence_follows(session, operation, now)


class Room:
    """One VNF of members, whose operations are moved as the engine would."""

    def __init__(self, engine: Engine) -> None:
        migrate_sol003(engine)
        self.engine = engine
        self.clock = SystemClock()
        self.journal = OperationJournal(engine, self.clock, EventBus(), follows=follow)
        self.occurrences = Occurrences(engine, self.clock, NoProjects())
        self.instances = VnfInstances(
            engine,
            self.clock,
            LcmRecords(engine, self.clock),
            self.journal,
            NoProjects(),
            self.occurrences,
        )
        made = self.instances.create(Deployable(secrets.token_bytes(32), None), "vnf", "", {})
        self.instance_id = made.row.vnf_instance_id
        self.shape = Shape({"a": 1, "b": 2}, {"a": ["dc-1"], "b": ["dc-1"]}, {"n": 0}, {})

    @property
    def instance(self) -> Instance:
        return self.instances.get(self.instance_id)

    def begin(self, *, on: Instance | None = None) -> tuple[UUID, dict[Slot, UUID]]:
        """Instantiate it; ids of the occurrence and of each member's operation."""
        instance = on or self.instance
        now = self.clock.now()
        operations = {slot: uuid4() for slot in self.shape.slots()}
        deployments = {slot: uuid4() for slot in operations}
        row = OccurrenceRow(
            occurrence_id=uuid4(), vnf_instance_id=self.instance_id, kind="INSTANTIATE", adds=True,
            state="STARTING", course="FORWARD", tries=1, cancel_requested=False,
            on_failure="rollback", parameters={}, target=self.shape.stored(), created_at=now,
            entered_at=now,
        )  # fmt: skip
        occurrence_id = row.occurrence_id
        with writing(self.engine) as session:
            self.instances.claim(session, instance)
            for slot, deployment_id in deployments.items():
                session.add(
                    InstantiationRow(
                        deployment_id=deployment_id, vnf_instance_id=self.instance_id,
                        vdu_id=slot.vdu_id, number=slot.number,
                    )
                )  # fmt: skip
            self.occurrences.record(
                session, row, [(operations[slot], deployments[slot]) for slot in operations]
            )
            for slot, deployment_id in deployments.items():
                session.add(
                    DeploymentRow(
                        deployment_id=deployment_id, name="m", data_centre=slot.data_centre,
                        image_digest=bytes(32), cipher="aes-256-gcm", key_mode="pooled",
                        memory_mib=64, cpus=1.0, state="DEPLOYING", created_at=now, changed_at=now,
                    )
                )  # fmt: skip
                self.journal.add(
                    session, operations[slot], deployment_id, OperationKind.INSTANTIATE, ["boot"],
                    wait_until=None,
                )  # fmt: skip
        return occurrence_id, operations

    def state(self, occurrence_id: UUID) -> str:
        row = self.occurrences.find(occurrence_id)
        assert row is not None
        return row.state

    def move(self, operation_id: UUID, *states: S) -> None:
        for state in states:
            assert self.journal.move(operation_id, state, allowed=EVERY)

    def subscribe(self) -> None:
        with writing(self.engine) as session:
            session.add(
                SubscriptionRow(
                    subscription_id=uuid4(), user_id=None, sees_all=True, callback_uri="http://x",
                    filter={}, likeness=secrets.token_bytes(32), authentication=None, root="",
                    tries=0, next_try_at=self.clock.now(), created_at=self.clock.now(),
                )
            )  # fmt: skip

    def told(self) -> list[tuple[str, str]]:
        with reading(self.engine) as session:
            rows = session.scalars(select(NotificationRow).order_by(NotificationRow.sequence))
            return [(row.body["operation"], row.body["operationState"]) for row in rows]


@pytest.fixture
def room(engine: Engine) -> Room:
    return Room(engine)


def test_it_is_as_its_members_and_told_once(room: Room) -> None:
    room.subscribe()
    occurrence_id, operations = room.begin()
    one, *others = operations.values()
    assert room.state(occurrence_id) == S.STARTING
    assert room.instance.is_busy
    room.move(one, S.PROCESSING)
    assert room.state(occurrence_id) == S.PROCESSING
    room.move(one, S.COMPLETED)
    for other in others:
        assert not room.instance.is_instantiated
        room.move(other, S.PROCESSING, S.COMPLETED)
    assert room.state(occurrence_id) == S.COMPLETED
    instance = room.instance
    assert instance.is_instantiated
    assert not instance.is_busy
    assert {(m.vdu_id, m.number) for m in instance.members} == {("a", 1), ("b", 1), ("b", 2)}
    assert instance.shape == room.shape
    assert "scale" in instance.allowed
    (listed,) = room.instances.all()
    assert len(listed.members) == 3
    assert room.told() == [("INSTANTIATE", str(s)) for s in (S.STARTING, S.PROCESSING, S.COMPLETED)]
    assert room.occurrences.open() == []


def test_one_that_fails_turns_it_back_until_nothing_is_left(room: Room) -> None:
    occurrence_id, operations = room.begin()
    one, other, third = operations.values()
    room.move(one, S.PROCESSING, S.COMPLETED)
    room.move(other, S.ROLLED_BACK)
    assert room.state(occurrence_id) == S.ROLLING_BACK
    room.move(third, S.PROCESSING, S.ROLLING_BACK, S.ROLLED_BACK)
    assert room.state(occurrence_id) == S.ROLLING_BACK
    assert room.occurrences.open() == [occurrence_id]
    deployment_id = room.journal.get(one).deployment_id
    with writing(room.engine) as session:  # as if somebody else had removed it
        session.execute(
            update(DeploymentRow)
            .where(DeploymentRow.deployment_id == deployment_id)
            .values(state="REMOVED")
        )
    room.occurrences.settle(occurrence_id)
    assert room.state(occurrence_id) == S.ROLLED_BACK
    instance = room.instance
    assert (instance.members, instance.is_busy) == ([], False)
    assert instance.allowed == ["instantiate", "delete"]


def test_members_that_end_at_the_same_moment(room: Room) -> None:
    """Whoever comes second sees the first: it never stays PROCESSING with nothing under way."""
    for _ in range(8):
        occurrence_id, operations = room.begin()
        for operation_id in operations.values():
            room.move(operation_id, S.PROCESSING)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda each: room.move(each, S.ROLLING_BACK), operations.values()))
            list(pool.map(lambda each: room.move(each, S.ROLLED_BACK), operations.values()))
        assert room.state(occurrence_id) == S.ROLLED_BACK


def test_who_begins_first_wins(room: Room) -> None:
    mine, yours = room.instance, room.instance
    room.begin(on=mine)
    with pytest.raises(VnfInstanceStateError, match="this moment"):
        room.begin(on=yours)
    with pytest.raises(VnfInstanceStateError):
        room.instances.delete(yours)
    assert len(room.instance.members) == 3


def test_decisions_are_taken_once(room: Room) -> None:
    occurrence_id, operations = room.begin()
    assert not room.occurrences.decide(occurrence_id, OperationAction.RETRY)
    for operation_id in operations.values():
        room.move(operation_id, S.FAILED_TEMP)
    assert room.state(occurrence_id) == S.FAILED_TEMP
    assert not room.occurrences.decide(occurrence_id, OperationAction.CANCEL)
    assert room.occurrences.decide(occurrence_id, OperationAction.RETRY)
    assert room.state(occurrence_id) == S.STARTING, "before any member knows of it"
    assert not room.occurrences.decide(occurrence_id, OperationAction.FAIL)
    for operation_id in operations.values():
        again = [
            room.journal.begin_again(operation_id, uuid4(), wait_until=None, after_try=number)
            for number in (2, 1, 1)
        ]
        assert again == [False, True, False], "another orchestrator may ask as well"
        room.move(operation_id, S.FAILED_TEMP)
    assert room.occurrences.decide(occurrence_id, OperationAction.ROLLBACK)
    assert room.state(occurrence_id) == S.ROLLING_BACK
    assert not room.occurrences.decide(occurrence_id, OperationAction.RETRY)


def test_an_occurrence_is_there_when_its_instance_is_deleted(room: Room) -> None:
    occurrence_id, operations = room.begin()
    for operation_id in operations.values():
        room.move(operation_id, S.ROLLED_BACK)
    room.instances.delete(room.instance)
    assert room.instances.all() == []
    assert room.state(occurrence_id) == S.ROLLED_BACK


def test_packages_of_before_keep_their_image(database_url: str) -> None:
    engine = open_engine(database_url)
    migrate(engine, MIGRATIONS, room="sol003", revision="0003")
    package_id, digest = uuid4(), secrets.token_bytes(32)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sol003_vnf_package (package_id, project, onboarding_state, is_enabled,"
                " user_data, tries, vnfd, image_digest, brought_image, created_at) VALUES "
                """(:id, 'default', 'ONBOARDED', 1, '{}', 1, '{"vdu_id": "VDU1"}', :digest, 1, 1)"""
            ).bindparams(id=package_id.bytes, digest=digest)
        )
    migrate_sol003(engine)
    with reading(engine) as session:
        (row,) = session.scalars(select(PackageImageRow))
        assert (row.package_id, row.vdu_id) == (package_id, "VDU1")
        assert (row.image_digest, row.is_brought) == (digest, True)
    engine.dispose()
