"""Uploaded VNF packages in the database: one of a VNFD in a project, kept while it is used."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from database import writing
from orchestrator.accounts.tables import migrate_accounts
from orchestrator.projects.ownership import Ownership
from orchestrator.projects.tables import migrate_projects
from orchestrator.settings import PackagesTable
from orchestrator.sol003.errors import (
    PackageLimitError,
    PackageRefusedError,
    StaleTagError,
    UnknownVnfdError,
    VnfPackageStateError,
)
from orchestrator.sol003.onboarding.quota import PackageQuota
from orchestrator.sol003.onboarding.states import OnboardingState
from orchestrator.sol003.onboarding.store import PackageStore, claim
from orchestrator.sol003.onboarding.tables import PackageImageRow
from orchestrator.sol003.tables import VnfInstanceRow, migrate_sol003
from orchestrator.store.tables import migrate_orchestrator
from timekeeping import SystemClock

CREATED, UPLOADING = OnboardingState.CREATED, OnboardingState.UPLOADING
PROCESSING, ONBOARDED = OnboardingState.PROCESSING, OnboardingState.ONBOARDED


@pytest.fixture
def store(engine: Engine) -> PackageStore:
    migrate_accounts(engine)
    migrate_projects(engine)
    migrate_sol003(engine)
    return PackageStore(engine, SystemClock(), Ownership(engine))


def onboard(store: PackageStore, vnfd_id: UUID) -> UUID:
    package_id = store.create({"ü": 1}).package_id
    assert store.move(package_id, CREATED, UPLOADING)
    assert not store.move(package_id, CREATED, UPLOADING), "one upload at a time"
    assert store.move(package_id, UPLOADING, PROCESSING, content_bytes=2**40)
    assert store.move(package_id, PROCESSING, ONBOARDED, is_enabled=True, vnfd_id=vnfd_id)
    return package_id


def give_image(engine: Engine, package_id: UUID, vdu_id: str = "VDU1") -> None:
    with writing(engine) as session:
        session.add(
            PackageImageRow(
                package_id=package_id, vdu_id=vdu_id, image_digest=bytes(32), is_brought=True
            )
        )


def test_a_vnfd_comes_once_into_a_project(store: PackageStore) -> None:
    vnfd_id = uuid4()
    first = onboard(store, vnfd_id)
    with pytest.raises(IntegrityError):
        onboard(store, vnfd_id)
    assert store.of_vnfd(vnfd_id, "another") is None
    found = store.of_vnfd(vnfd_id, store.get(first).project)
    assert found is not None
    assert (found.package_id, found.content_bytes, found.user_data) == (first, 2**40, {"ü": 1})


def test_a_package_has_an_image_a_vdu(store: PackageStore, engine: Engine) -> None:
    package_id = onboard(store, uuid4())
    for vdu_id in ("VDU1", "vdu1", "VDU2"):
        give_image(engine, package_id, vdu_id)
    assert set(store.images()[package_id]) == {"VDU1", "vdu1", "VDU2"}
    assert store.of_image(bytes(32)) == 1, "packages are counted, not VDUs"
    store.modify(package_id, is_enabled=False)
    row, brought = store.delete(package_id)
    assert (row.package_id, brought) == (package_id, {bytes(32)})
    assert store.images() == {}


def test_an_image_that_its_project_adds_by_itself_is_not_brought_any_more(
    store: PackageStore, engine: Engine
) -> None:
    package_id = onboard(store, uuid4())
    give_image(engine, package_id)
    project = store.get(package_id).project
    assert store.is_brought(bytes(32), project)
    with writing(engine) as session:
        store.image_added(session, bytes(32), "another")
    assert store.is_brought(bytes(32), project)
    with writing(engine) as session:
        store.image_added(session, bytes(32), project)
    assert not store.is_brought(bytes(32), project)


def test_a_package_stays_while_it_is_used(store: PackageStore, engine: Engine) -> None:
    package_id = onboard(store, uuid4())
    with writing(engine) as session:
        claim(session, package_id)
        session.add(
            VnfInstanceRow(
                vnf_instance_id=uuid4(), image_digest=bytes(32), package_id=package_id, name="web",
                description="", key_values={}, deployment_id=uuid4(), version=1,
                created_at=SystemClock().now(),
            )
        )  # fmt: skip
    for _ in range(2):
        with pytest.raises(VnfPackageStateError, match="web") as used:
            store.delete(package_id)
        assert used.value.extensions["users"] == 1
        if store.get(package_id).is_enabled:
            store.modify(package_id, is_enabled=False)
    assert store.users(package_id) == 1
    with pytest.raises(VnfPackageStateError, match="DISABLED"), writing(engine) as session:
        claim(session, package_id)


def test_a_package_whose_image_just_went_is_not_onboarded(
    store: PackageStore, engine: Engine
) -> None:
    migrate_orchestrator(engine)
    row = store.create({})
    assert store.move(row.package_id, CREATED, UPLOADING)
    assert store.move(row.package_id, UPLOADING, PROCESSING)
    with pytest.raises(PackageRefusedError, match="was deleted"):
        store.onboarded(row, {"VDU1": bytes(32)}, is_brought=lambda _: True)
    assert store.get(row.package_id).onboarding_state == PROCESSING


def test_changes_at_the_same_moment_are_both_kept(store: PackageStore) -> None:
    package_id = store.create({"a": 0}).package_id
    as_read = store.get(package_id)

    def add(name: str) -> None:
        store.modify(package_id, merge=lambda before: {**before, name: 1})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, "bcdefghi"))
    assert store.get(package_id).user_data == {"a": 0, **dict.fromkeys("bcdefghi", 1)}
    with pytest.raises(StaleTagError):
        store.modify(package_id, merge=lambda _: {}, as_read=as_read)
    store.modify(package_id, merge=lambda _: {}, as_read=store.get(package_id))
    assert store.get(package_id).user_data == {}


def test_a_project_holds_so_many_packages_and_bytes(store: PackageStore) -> None:
    quota = PackageQuota(PackagesTable(most_per_project=2, most_bytes_per_project=100))
    first, second = store.create({}, quota), store.create({}, quota)
    with pytest.raises(PackageLimitError, match="2 VNF packages"):
        store.create({}, quota)
    at, digest = SystemClock().now(), bytes(32)
    for row in (first, second):
        assert store.move(row.package_id, CREATED, UPLOADING)
    assert store.arrived(first.package_id, at, 60, digest, quota)
    assert store.room_bytes(second, quota) == 40
    with pytest.raises(PackageLimitError, match="more than 100 bytes"):
        store.arrived(second.package_id, at, 41, digest, quota)
    assert store.arrived(second.package_id, at, 40, digest, quota)
    assert not store.arrived(second.package_id, at, 40, digest, quota), "it is processed already"


def test_a_quota_holds_where_many_come_at_once(store: PackageStore) -> None:
    quota = PackageQuota(PackagesTable(most_per_project=3))

    def create(_: int) -> bool:
        try:
            store.create({}, quota)
        except PackageLimitError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(8)))
    assert sum(made) == len(store.all()) == 3


def test_nothing_can_be_made_of_a_deleted_package(store: PackageStore, engine: Engine) -> None:
    package_id = onboard(store, uuid4())
    with pytest.raises(VnfPackageStateError, match="ENABLED"):
        store.delete(package_id)
    store.modify(package_id, is_enabled=False)
    store.delete(package_id)
    assert store.all() == []
    with pytest.raises(UnknownVnfdError), writing(engine) as session:
        claim(session, package_id)
