"""VNF instances in the database: one deployment an instantiation, also when two ask at once."""

from __future__ import annotations

import secrets
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, select, update

from database import writing
from orchestrator.events.bus import EventBus
from orchestrator.projects.ownership import NoProjects
from orchestrator.sol003.errors import UnknownVnfInstanceError, VnfInstanceStateError
from orchestrator.sol003.instances import VnfInstances
from orchestrator.sol003.members.occurrences import Occurrences
from orchestrator.sol003.packages import Deployable
from orchestrator.sol003.tables import InstantiationRow, migrate_sol003
from orchestrator.store.tables import DeploymentRow, ImageRow
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.states import DeploymentState, OperationKind, OperationState
from orchestrator.workflow.journal import OperationJournal
from timekeeping import SystemClock


class Room:
    def __init__(self, engine: Engine) -> None:
        migrate_sol003(engine)
        migrate_sol003(engine)
        self.engine = engine
        self.clock = SystemClock()
        self.journal = OperationJournal(engine, self.clock, EventBus())
        records = LcmRecords(engine, self.clock)
        self.instances = VnfInstances(
            engine,
            self.clock,
            records,
            self.journal,
            NoProjects(),
            Occurrences(engine, self.clock, NoProjects()),
        )
        self.image = ImageRow(
            digest=secrets.token_bytes(32),
            name="i",
            format="raw",
            size=1,
            vim_image_id="x",
            added_at=self.clock.now(),
        )
        self.source = Deployable(self.image.digest, None)

    def deploy(self, deployment_id: UUID, state: DeploymentState) -> None:
        """As the engine would leave it."""
        operation_id = uuid4()
        with writing(self.engine) as session:
            session.add(
                DeploymentRow(
                    deployment_id=deployment_id,
                    name="i",
                    data_centre="dc-1",
                    image_digest=self.image.digest,
                    cipher="aes-256-gcm",
                    key_mode="pooled",
                    memory_mib=64,
                    cpus=1.0,
                    state=state.value,
                    created_at=self.clock.now(),
                    changed_at=self.clock.now(),
                )
            )
            self.journal.add(
                session,
                operation_id,
                deployment_id,
                OperationKind.INSTANTIATE,
                ["boot"],
                wait_until=None,
            )
        if state is DeploymentState.FAILED:
            end = OperationState.ROLLED_BACK
            self.journal.move(operation_id, end, allowed=tuple(OperationState))

    def be(self, deployment_id: UUID, state: DeploymentState) -> None:
        with writing(self.engine) as session:
            session.execute(
                update(DeploymentRow)
                .where(DeploymentRow.deployment_id == deployment_id)
                .values(state=state.value)
            )

    def history(self) -> set[UUID]:
        with self.engine.connect() as connection:
            return set(connection.scalars(select(InstantiationRow.deployment_id)))


@pytest.fixture
def room(engine: Engine) -> Room:
    return Room(engine)


def test_each_instantiation_is_a_deployment_of_its_own(room: Room) -> None:
    made = room.instances.create(room.source, "one", "", {"a": "ü"})
    instance_id = made.row.vnf_instance_id
    first = room.instances.next_deployment(made)
    room.deploy(first, DeploymentState.RUNNING)
    running = room.instances.get(instance_id)
    assert running.is_instantiated
    with pytest.raises(VnfInstanceStateError):
        room.instances.next_deployment(running)
    with pytest.raises(VnfInstanceStateError):
        room.instances.delete(running)
    room.be(first, DeploymentState.REMOVED)
    second = room.instances.next_deployment(room.instances.get(instance_id))
    assert second != first
    room.deploy(second, DeploymentState.RUNNING)
    (listed,) = room.instances.all()
    assert (listed.row.vnf_instance_id, listed.is_instantiated) == (instance_id, True)
    assert room.instances.history() == {first: instance_id, second: instance_id}
    room.be(second, DeploymentState.REMOVED)
    room.instances.delete(room.instances.get(instance_id))
    assert room.instances.all() == []
    with pytest.raises(UnknownVnfInstanceError):
        room.instances.get(instance_id)


def test_two_who_instantiate_at_once_get_one_deployment(room: Room) -> None:
    made = room.instances.create(room.source, "", "", {})
    instance_id = made.row.vnf_instance_id
    mine, yours = room.instances.get(instance_id), room.instances.get(instance_id)
    first = room.instances.next_deployment(mine)
    with pytest.raises(VnfInstanceStateError, match="this moment"):
        room.instances.next_deployment(yours)
    # Who asks between the claim and the deployment gets the same id.
    assert room.instances.next_deployment(room.instances.get(instance_id)) == first


def test_who_deletes_and_who_instantiates_do_not_both_win(room: Room) -> None:
    made = room.instances.create(room.source, "", "", {})
    mine, yours = made, room.instances.get(made.row.vnf_instance_id)
    room.instances.next_deployment(mine)
    with pytest.raises(VnfInstanceStateError, match="this moment"):
        room.instances.delete(yours)


def test_a_deployment_and_a_deletion_in_its_last_moments_do_not_both_win(room: Room) -> None:
    made = room.instances.create(room.source, "one", "", {})
    deployment_id = room.instances.next_deployment(made)
    read = room.instances.get(made.row.vnf_instance_id)
    with writing(room.engine) as session:
        room.instances.hold(session, made, deployment_id)
    room.deploy(deployment_id, DeploymentState.DEPLOYING)
    with pytest.raises(VnfInstanceStateError):
        room.instances.delete(read)
    assert room.instances.get(made.row.vnf_instance_id).deployment is not None

    other = room.instances.create(room.source, "two", "", {})
    deployment_id = room.instances.next_deployment(other)
    room.instances.delete(room.instances.get(other.row.vnf_instance_id))
    with pytest.raises(VnfInstanceStateError), writing(room.engine) as session:
        room.instances.hold(session, other, deployment_id)


def test_nothing_is_left_of_one_that_was_never_instantiated(room: Room) -> None:
    made = room.instances.create(room.source, "", "", {})
    room.instances.modify(made, name="x")
    assert len(room.instances.info_changes()) == 1
    room.instances.delete(room.instances.get(made.row.vnf_instance_id))
    assert room.instances.info_changes() == []
    assert room.history() == set()


def test_a_deployment_that_came_otherwise_is_an_instance(room: Room) -> None:
    deployment_id = uuid4()
    room.deploy(deployment_id, DeploymentState.RUNNING)
    (listed,) = room.instances.all()
    assert (listed.row.vnf_instance_id, listed.is_instantiated) == (deployment_id, True)
    room.instances.modify(listed, name="renamed")
    assert room.instances.get(deployment_id).row.name == "renamed"
    room.be(deployment_id, DeploymentState.REMOVED)
    assert not room.instances.get(deployment_id).is_instantiated, "it has a row of its own now"


def test_one_that_came_otherwise_and_failed_can_be_deleted(room: Room) -> None:
    deployment_id = uuid4()
    room.deploy(deployment_id, DeploymentState.FAILED)
    room.instances.delete(room.instances.get(deployment_id))
    assert room.instances.all() == []
    gone = uuid4()
    room.deploy(gone, DeploymentState.REMOVED)
    with pytest.raises(UnknownVnfInstanceError):
        room.instances.get(gone)
