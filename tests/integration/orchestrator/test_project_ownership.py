"""Who owns what, in the database: an id has one project, and nothing is left without one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, event, text

from database import migrate, reading, writing
from nfv_stack.contract.schemas import ImageFormat
from orchestrator.accounts.identity import Identity, Role, Via, asked_by
from orchestrator.accounts.tables import migrate_accounts
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.errors import DeploymentStateError, ImageInUseError, UnknownImageError
from orchestrator.events.bus import EventBus
from orchestrator.projects.history import let_go_history
from orchestrator.projects.ownership import Kind, Ownership
from orchestrator.projects.tables import (
    MIGRATIONS,
    MemberRow,
    OwnedRow,
    ProjectRow,
    migrate_projects,
)
from orchestrator.schedule.alarms import Alarms
from orchestrator.sol003.members.occurrences import Occurrences
from orchestrator.sol003.onboarding.store import PackageStore
from orchestrator.sol003.onboarding.tables import PackageImageRow
from orchestrator.sol003.tables import OccurrenceRow, VnfInstanceRow, migrate_sol003
from orchestrator.store.tables import DeploymentRow, ImageRow
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import DeploymentRequest
from orchestrator.vnf_lcm.watch import Sighting
from orchestrator.workflow.journal import OperationJournal
from timekeeping import FakeClock, SystemClock

DISK = bytes(510) + b"\x55\xaa" + b"data" * 1000


class Slave:
    def data_centre(self) -> SimpleNamespace:
        return SimpleNamespace(vim=SimpleNamespace(image_formats=[ImageFormat.RAW]))


class House:
    """The orchestrator's records with projects, and everything else as it likes."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        migrate_accounts(engine)
        migrate_projects(engine)
        clock = SystemClock()
        self.engine = engine
        self.ownership = Ownership(engine)
        self.records = LcmRecords(engine, clock, ownership=self.ownership)
        self.catalogue = Catalogue(
            engine, folder, clock, max_image_bytes=10**6, ownership=self.ownership
        )
        journal = OperationJournal(engine, clock, EventBus(), ownership=self.ownership)
        centre = DataCentre("dc-1", "alice--bob-1", "dc-1", cast("Any", Slave()))
        willing = cast("Any", SimpleNamespace(
            check=lambda *_: None, plan=lambda *_: None, key_bits=lambda *_: 256,
            is_promised=False, promise_withdrawn=lambda *_: None,
        ))  # fmt: skip
        self.lifecycle = Lifecycle(
            engine, clock, self.records, journal, self.catalogue, willing,
            {"aes-256-gcm": willing}, willing, DataCentres([centre]), promises=willing,
            wake=lambda: None, sighting=lambda row: Sighting(row, None, None, None),
        )  # fmt: skip

    def member(self, project: str) -> Identity:
        """Somebody of a new project."""
        user_id = uuid4()
        with writing(self.engine) as session:
            session.add(ProjectRow(name=project, purpose="", created_at=SystemClock().now()))
            session.flush()
            session.add(MemberRow(project=project, user_id=user_id))
        return Identity(f"of-{project}", Role.OPERATOR, Via.TOKEN, user_id)

    def deploy(self, who: Identity, deployment_id: UUID) -> str:
        with asked_by(who):
            view = self.lifecycle.deploy(
                DeploymentRequest(
                    image="disk", data_centre="dc-1", deployment_id=deployment_id, wait_s=5
                )
            )
        return view.project

    def owners(self, thing: bytes) -> list[str]:
        with reading(self.engine) as session:
            rows = session.query(OwnedRow).filter(OwnedRow.thing == thing)
            return sorted(row.project for row in rows)


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    return House(engine, tmp_path / "catalogue")


@pytest.fixture
def red(house: House) -> Identity:
    return with_image(house, "red")


@pytest.fixture
def blue(house: House) -> Identity:
    return with_image(house, "blue")


def with_image(house: House, project: str) -> Identity:
    who = house.member(project)
    with asked_by(who):
        house.catalogue.add([DISK], "disk")
    return who


def test_an_id_that_another_project_has_makes_no_deployment(
    house: House, red: Identity, blue: Identity
) -> None:
    """Be it a deployment's or that of a VNF instance which was not instantiated yet."""
    deployed, created = uuid4(), uuid4()
    assert house.deploy(red, deployed) == "red"
    with writing(house.engine) as session:
        house.ownership.own(session, Kind.DEPLOYMENT, created, "red")
    refusals = []
    for taken in (deployed, created):
        with pytest.raises(DeploymentStateError) as refused:
            house.deploy(blue, taken)
        refusals.append((refused.value.detail.replace(str(taken), "ID"), refused.value.next_step))
        assert house.owners(taken.bytes) == ["red"]
    assert refusals[0] == refusals[1], "who asks does not learn what has the id"
    assert house.deploy(red, created) == "red"


def test_of_two_projects_that_ask_for_one_id_at_once_one_gets_it(
    house: House, red: Identity, blue: Identity
) -> None:
    def ask(who: Identity, wanted: UUID) -> str | None:
        try:
            return house.deploy(who, wanted)
        except DeploymentStateError:
            return None

    with ThreadPoolExecutor(2) as pool:
        for wanted in [uuid4() for _ in range(8)]:
            asked = [pool.submit(ask, who, wanted) for who in (red, blue)]
            (winner,) = [name for each in asked if (name := each.result()) is not None]
            assert house.owners(wanted.bytes) == [winner]


def test_what_was_there_before_projects_is_the_default_one_s(
    engine: Engine, tmp_path: Path
) -> None:
    migrate_accounts(engine)
    migrate(engine, MIGRATIONS, room="projects", revision="0001")
    migrate_sol003(engine)
    now, digest, owned = SystemClock().now(), b"\1" * 32, b"\2" * 32
    deployment, instance = uuid4(), uuid4()
    with writing(engine) as session:
        session.add_all(
            ImageRow(digest=each, name="old", format="raw", size=1, vim_image_id="x", added_at=now)
            for each in (digest, owned)
        )
        session.add(
            DeploymentRow(
                deployment_id=deployment, name="old", data_centre="dc-1", image_digest=digest,
                cipher="aes-256-gcm", key_mode="pooled", memory_mib=1, cpus=1.0, state="RUNNING",
                instance=None, created_at=now, changed_at=now,
            )
        )  # fmt: skip
        session.add(
            VnfInstanceRow(
                vnf_instance_id=instance, image_digest=digest, name="", description="",
                key_values={}, deployment_id=instance, version=1, created_at=now,
            )
        )  # fmt: skip
        session.execute(
            text("INSERT INTO project (name, purpose, created_at) VALUES ('red', '', 0)")
        )
        session.execute(
            text("INSERT INTO project_owned (kind, thing, project) VALUES ('image', :it, 'red')"),
            {"it": owned},
        )
    house = House(engine, tmp_path / "catalogue")
    assert house.owners(digest) == ["default"]
    assert house.owners(deployment.bytes) == ["default"]
    assert house.owners(instance.bytes) == ["default"]
    assert house.owners(owned) == ["red"]


def test_who_adds_what_nobody_owns_does_not_get_it_alone(house: House, red: Identity) -> None:
    """A database that lost an owner's row gives nobody the content of others to delete."""
    digest = house.catalogue.get("disk").digest
    with writing(house.engine) as session:
        session.query(OwnedRow).delete()
    blue = with_image(house, "blue")
    assert house.owners(digest) == ["blue", "default"]
    with asked_by(blue):
        house.catalogue.remove("disk", users=lambda _: 0)
    assert house.owners(digest) == ["default"]
    assert house.catalogue.file(digest).exists()


def test_what_nobody_owns_is_seen_by_administrators_alone(house: House, red: Identity) -> None:
    assert [row.name for row in house.catalogue.all()] == ["disk"]
    with writing(house.engine) as session:
        session.query(OwnedRow).delete()
    with asked_by(red):
        assert house.catalogue.all() == []
    with asked_by(Identity("root", Role.ADMINISTRATOR, Via.TOKEN, uuid4())):
        assert [row.name for row in house.catalogue.all()] == ["disk"]


def test_uses_by_others_are_not_a_co_owner_s_business(
    house: House, red: Identity, blue: Identity
) -> None:
    digest = house.catalogue.get("disk").digest
    house.deploy(red, uuid4())
    users = house.records.image_users
    with asked_by(blue):
        assert users(digest) == 0
        house.catalogue.remove("disk", users=users)
    with asked_by(red):
        assert users(digest) == 1
        with pytest.raises(ImageInUseError, match="1 deployment"):
            house.catalogue.remove("disk", users=users)
    assert house.owners(digest) == ["red"]


def test_the_last_owner_does_not_take_away_what_others_run(
    house: House, red: Identity, blue: Identity
) -> None:
    digest = house.catalogue.get("disk").digest
    house.deploy(red, uuid4())
    with writing(house.engine) as session:
        session.query(OwnedRow).filter_by(kind="image", project="red").delete()
    with asked_by(blue), pytest.raises(ImageInUseError):
        house.catalogue.remove("disk", users=house.records.image_users)
    assert house.owners(digest) == ["blue"]
    assert house.catalogue.file(digest).exists()


def test_packages_of_others_are_not_a_co_owner_s_business(
    house: House, red: Identity, blue: Identity
) -> None:
    migrate_sol003(house.engine)
    store = PackageStore(house.engine, SystemClock(), house.ownership)
    digest = house.catalogue.get("disk").digest
    with asked_by(red):
        package = store.create({})
    with writing(house.engine) as session:
        session.add(
            PackageImageRow(
                package_id=package.package_id, vdu_id="VDU1", image_digest=digest, is_brought=False
            )
        )
    with asked_by(red), pytest.raises(ImageInUseError, match="1 VNF package"):
        house.catalogue.remove("disk", users=lambda _: 0, packages=store.of_image)
    with asked_by(blue):
        house.catalogue.remove("disk", users=lambda _: 0, packages=store.of_image)
    assert house.owners(digest) == ["red"]


def test_history_is_let_go_and_nothing_else(house: House, red: Identity, blue: Identity) -> None:
    migrate_sol003(house.engine)
    past, present, theirs = uuid4(), uuid4(), uuid4()
    house.deploy(red, past)
    house.deploy(red, present)
    house.deploy(blue, theirs)
    with writing(house.engine) as session:
        for each in (past, theirs):
            session.get_one(DeploymentRow, each).state = "REMOVED"
    with writing(house.engine) as session:
        let_go_history(session, "red")
    assert [house.owners(each.bytes) for each in (past, present, theirs)] == [[], ["red"], ["blue"]]
    assert house.records.projects_of([past, present]) == {past: "", present: "red"}


def test_each_project_calls_the_same_content_as_it_likes(house: House, red: Identity) -> None:
    blue, green = house.member("blue"), house.member("green")
    with asked_by(blue):
        assert house.catalogue.add([DISK], "router").name == "router"
        digest = house.catalogue.get("router").digest
        assert [row.name for row in house.catalogue.all()] == ["router"]
        assert house.catalogue.get(digest.hex()[:12]).name == "router"
        with pytest.raises(UnknownImageError):
            house.catalogue.get("disk")
    with asked_by(red):
        assert house.catalogue.get("disk").digest == digest
        with pytest.raises(UnknownImageError):
            house.catalogue.get("router")
        house.catalogue.remove("disk", users=house.records.image_users)
    with asked_by(green):
        assert house.catalogue.find(digest) is None
        assert house.catalogue.add([DISK], "disk").name == "disk"
    # Whoever sees all finds it by every name.
    for name in ("router", "disk"):
        assert house.catalogue.get(name).digest == digest


def test_a_name_like_a_digest_does_not_stand_in_its_way(house: House, red: Identity) -> None:
    """A deployment that is healed asks for its image by the digest."""
    digest = house.catalogue.get("disk").digest
    with asked_by(red):
        house.catalogue.add([DISK + b"another"], digest.hex())
        assert house.catalogue.get(digest.hex()).digest == digest


def test_who_deploys_into_another_project_of_his_gives_it_the_image_and_its_name(
    house: House, red: Identity
) -> None:
    house.member("blue")
    with writing(house.engine) as session:
        session.add(MemberRow(project="blue", user_id=cast("UUID", red.user_id)))
    with asked_by(red):
        request = DeploymentRequest(image="disk", data_centre="dc-1", project="blue", wait_s=5)
        assert house.lifecycle.deploy(request).project == "blue"
        assert [view.project for view in house.lifecycle.deployments()] == ["blue"]
        digest = house.catalogue.get("disk").digest
        assert house.catalogue.owners_of([digest]) == {digest: ["blue", "red"]}


def test_lists_ask_who_owns_what_once(house: House, red: Identity) -> None:
    asked: list[str] = []

    @event.listens_for(house.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith("SELECT project_owned."):
            asked.append(statement)

    def questions() -> int:
        asked.clear()
        with asked_by(red):
            assert {view.project for view in house.lifecycle.deployments()} == {"red"}
            digests = [row.digest for row in house.catalogue.all()]
            assert set(house.catalogue.owners_of(digests)) == set(digests)
        return len(asked)

    house.deploy(red, uuid4())
    of_one = questions()
    for number in range(3):
        house.deploy(red, uuid4())
        with asked_by(red):
            house.catalogue.add([DISK + bytes([number])], f"disk-{number}")
    assert questions() == of_one


def test_alarms_of_others_leave_room_for_what_is_everybody_s(house: House, red: Identity) -> None:
    blue, clock = house.member("blue"), FakeClock()
    alarms = Alarms(house.engine, clock, EventBus(), ownership=house.ownership)
    alarms.raise_("qber", "alice--bob-1", "too high")
    for _ in range(3):
        clock.advance(1)
        deployment = uuid4()
        house.deploy(red, deployment)
        alarms.raise_("instance-drift", str(deployment), "it was stopped")
    with asked_by(blue):
        assert [alarm.subject for alarm in alarms.list(limit=2)] == ["alice--bob-1"]
    with asked_by(red):
        assert [alarm.kind for alarm in alarms.list(limit=2)] == ["instance-drift"] * 2
    assert len(alarms.list(limit=2)) == 2


def test_a_vnf_of_members_is_its_project_s_alone(
    house: House, red: Identity, blue: Identity
) -> None:
    migrate_sol003(house.engine)
    occurrences = Occurrences(house.engine, SystemClock(), house.ownership)
    member, operation, occurrence, instance = uuid4(), uuid4(), uuid4(), uuid4()
    house.deploy(red, member)
    now = SystemClock().now()
    with writing(house.engine) as session:
        row = OccurrenceRow(
            occurrence_id=occurrence, vnf_instance_id=instance, kind="INSTANTIATE", adds=True,
            state="PROCESSING", course="FORWARD", tries=1, cancel_requested=False,
            on_failure="rollback", parameters={}, target=None, created_at=now, entered_at=now,
        )  # fmt: skip
        occurrences.record(session, row, [(operation, member)])
    for who, seen in ((red, 1), (blue, 0), (None, 1)):
        with asked_by(who):
            assert len(occurrences.all()) == seen
            assert (occurrences.find(occurrence) is not None) is bool(seen)
