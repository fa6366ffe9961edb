"""Uploaded VNF packages in the database: one of a VNFD in a project, kept while it is used."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from database import writing
from orchestrator.accounts.tables import migrate_accounts
from orchestrator.projects.ownership import Ownership
from orchestrator.projects.tables import migrate_projects
from orchestrator.sol003.errors import (
    PackageRefusedError,
    UnknownVnfdError,
    VnfPackageStateError,
)
from orchestrator.sol003.onboarding.states import OnboardingState
from orchestrator.sol003.onboarding.store import PackageStore, claim
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
    assert store.move(
        package_id, PROCESSING, ONBOARDED, is_enabled=True, vnfd_id=vnfd_id, image_digest=bytes(32)
    )
    return package_id


def test_a_vnfd_comes_once_into_a_project(store: PackageStore) -> None:
    vnfd_id = uuid4()
    first = onboard(store, vnfd_id)
    with pytest.raises(IntegrityError):
        onboard(store, vnfd_id)
    assert store.of_vnfd(vnfd_id, "another") is None
    found = store.of_vnfd(vnfd_id, store.get(first).project)
    assert found is not None
    assert (found.package_id, found.content_bytes, found.user_data) == (first, 2**40, {"ü": 1})
    assert store.of_image(bytes(32)) == 1


def test_a_package_stays_while_it_is_used(store: PackageStore, engine: Engine) -> None:
    package_id = onboard(store, uuid4())
    with writing(engine) as session:
        claim(session, package_id)
        session.add(
            VnfInstanceRow(
                vnf_instance_id=uuid4(), image_digest=bytes(32), package_id=package_id, name="",
                description="", key_values={}, deployment_id=uuid4(), version=1,
                created_at=SystemClock().now(),
            )
        )  # fmt: skip
    with pytest.raises(VnfPackageStateError, match="ENABLED"):
        store.delete(package_id)
    store.modify(store.get(package_id), is_enabled=False, user_data=None)
    with pytest.raises(VnfPackageStateError) as used:
        store.delete(package_id)
    assert used.value.extensions["users"] == 1
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
        store.onboarded(row, bytes(32))
    assert store.get(row.package_id).onboarding_state == PROCESSING


def test_nothing_can_be_made_of_a_deleted_package(store: PackageStore, engine: Engine) -> None:
    package_id = onboard(store, uuid4())
    store.modify(store.get(package_id), is_enabled=False, user_data=None)
    store.delete(package_id)
    assert store.all() == []
    with pytest.raises(UnknownVnfdError), writing(engine) as session:
        claim(session, package_id)
