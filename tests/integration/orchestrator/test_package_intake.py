"""Content of packages where something else fails at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from csar_builder import Csar, disk
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from orchestrator.accounts.tables import migrate_accounts
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.projects.ownership import Ownership
from orchestrator.projects.tables import DEFAULT, migrate_projects
from orchestrator.settings import PackagesTable
from orchestrator.sol003.errors import PackageLimitError
from orchestrator.sol003.onboarding.intake import PackageIntake
from orchestrator.sol003.onboarding.quota import PackageQuota
from orchestrator.sol003.onboarding.states import OnboardingState
from orchestrator.sol003.onboarding.store import PackageStore
from orchestrator.sol003.onboarding.tables import PackageImageRow, VnfPackageRow
from orchestrator.sol003.tables import migrate_sol003
from timekeeping import SystemClock

LIMIT = 10**6


class FaultyStore(PackageStore):
    """While `is_away` is set, nothing gets into the database; `tried` tells that something did
    not."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, SystemClock(), Ownership(engine))
        self.is_away = threading.Event()
        self.tried = threading.Event()

    def move(
        self, package_id: UUID, source: OnboardingState, target: OnboardingState, **values: Any
    ) -> bool:
        self._refuse_while_away()
        return super().move(package_id, source, target, **values)

    def onboarded(
        self,
        row: VnfPackageRow,
        images: Mapping[str, bytes],
        *,
        is_brought: Callable[[bytes], bool],
        **values: Any,
    ) -> None:
        self._refuse_while_away()
        super().onboarded(row, images, is_brought=is_brought, **values)

    def _refuse_while_away(self) -> None:
        if self.is_away.is_set():
            self.tried.set()
            raise OperationalError("UPDATE", None, Exception("server has gone away"))


class Bench:
    """An intake with its database and its disk."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        clock = SystemClock()
        self.store = FaultyStore(engine)
        self.folder = folder / "packages"
        self.catalogue = Catalogue(
            engine, folder, clock, max_image_bytes=LIMIT, ownership=Ownership(engine)
        )
        self.intake = PackageIntake(
            self.store,
            self.catalogue,
            self.folder,
            clock,
            deployments=lambda _: 0,
            max_bytes=LIMIT,
        )

    def sent(self, content: bytes, quota: PackageQuota | None = None) -> UUID:
        package_id = self.store.create({}).package_id
        arrival = self.intake.begin(package_id, quota)
        failed: BaseException | None = None
        try:
            arrival.write(content)
            arrival.whole()
        except BaseException as error:
            failed = error
            raise
        finally:
            arrival.end(failed)
        return package_id

    def image(self, row: VnfPackageRow) -> PackageImageRow:
        """Of a package of one VDU."""
        (image,) = self.store.images([row.package_id])[row.package_id].values()
        return image

    def at_rest(self, package_id: UUID) -> VnfPackageRow:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            row = self.store.get(package_id)
            if row.onboarding_state in ("CREATED", "ONBOARDED"):
                return row
        raise AssertionError(row.onboarding_state)


@pytest.fixture
def bench(engine: Engine, tmp_path: Path) -> Iterator[Bench]:
    migrate_accounts(engine)
    migrate_projects(engine)
    migrate_sol003(engine)
    made = Bench(engine, tmp_path / "catalogue")
    yield made
    made.intake.close()


@pytest.mark.parametrize(
    ("content", "ends"), [(Csar().packed(), "ONBOARDED"), (Csar(flavour="").packed(), "CREATED")]
)
def test_a_package_waits_for_a_database_that_is_away(
    bench: Bench, content: bytes, ends: str
) -> None:
    begun = threading.Event()
    go_on = threading.Event()
    adopt = bench.catalogue.adopt

    def adopt_later(*args: Any, **more: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return adopt(*args, **more)

    bench.catalogue.adopt = adopt_later  # type: ignore[method-assign]
    if ends == "ONBOARDED":
        package_id = bench.sent(content)
        assert begun.wait(30)
        bench.store.is_away.set()
        go_on.set()
    else:
        package_id = bench.store.create({}).package_id
        arrival = bench.intake.begin(package_id)
        arrival.write(content)
        bench.store.is_away.set()
        arrival.whole()
    assert bench.store.tried.wait(30)
    assert bench.store.get(package_id).onboarding_state == "PROCESSING"
    bench.store.is_away.clear()
    row = bench.at_rest(package_id)
    assert row.onboarding_state == ends
    assert (row.failure is None) == (ends == "ONBOARDED")


def test_an_upload_that_breaks_off_while_the_database_is_away_is_told_later(bench: Bench) -> None:
    package_id = bench.store.create({}).package_id
    arrival = bench.intake.begin(package_id)
    bench.store.is_away.set()
    arrival.end(ConnectionAbortedError())
    assert bench.store.get(package_id).onboarding_state == "UPLOADING"
    bench.store.is_away.clear()
    row = bench.at_rest(package_id)
    assert row.failure is not None
    assert "broke off" in row.failure["detail"]


def test_an_image_that_the_project_adds_later_stays(bench: Bench) -> None:
    made = Csar()
    package_id = bench.sent(made.packed())
    row = bench.at_rest(package_id)
    assert bench.image(row).is_brought
    bench.catalogue.add([made.image], "by-itself", DEFAULT)
    assert not bench.image(row).is_brought
    digest = bench.image(row).image_digest
    bench.store.modify(package_id, is_enabled=False)
    bench.intake.discard(*bench.store.delete(package_id))
    assert [image.digest for image in bench.catalogue.all()] == [digest]


def test_an_image_that_the_project_adds_at_the_same_moment_stays(bench: Bench) -> None:
    made = Csar()
    adopt = bench.catalogue.adopt

    def adopt_twice(*args: Any, **more: Any) -> Any:
        row = adopt(*args, **more)
        bench.catalogue.add([made.image], "by-itself", DEFAULT)
        return row

    bench.catalogue.adopt = adopt_twice  # type: ignore[method-assign]
    row = bench.at_rest(bench.sent(made.packed()))
    assert (row.onboarding_state, bench.image(row).is_brought) == ("ONBOARDED", False)


def test_a_project_that_is_full_takes_no_more(bench: Bench) -> None:
    quota = PackageQuota(PackagesTable(most_bytes_per_project=6000))
    first = bench.at_rest(bench.sent(disk(4096), quota))
    assert first.onboarding_state == "ONBOARDED"
    with pytest.raises(PackageLimitError, match="6000 bytes"):
        bench.sent(disk(4096), quota)
    assert [file.name for file in bench.folder.iterdir()] == [str(first.package_id)]
    (refused,) = (row for row in bench.store.all() if row.package_id != first.package_id)
    assert (refused.onboarding_state, refused.content_bytes) == ("CREATED", None)
    assert "6000 bytes" in str(refused.failure)
    bench.store.modify(first.package_id, is_enabled=False)
    bench.intake.discard(*bench.store.delete(first.package_id))
    assert bench.at_rest(bench.sent(disk(4096), quota)).onboarding_state == "ONBOARDED"


def test_one_that_starts_leaves_alone_what_another_has_in_hand(
    bench: Bench, engine: Engine, tmp_path: Path
) -> None:
    coming_id = bench.store.create({}).package_id
    coming = bench.intake.begin(coming_id)
    coming.write(Csar().packed())
    begun, go_on = threading.Event(), threading.Event()
    adopt = bench.catalogue.adopt

    def adopt_later(*args: Any, **more: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return adopt(*args, **more)

    bench.catalogue.adopt = adopt_later  # type: ignore[method-assign]
    processed_id = bench.sent(disk())
    assert begun.wait(30)

    other = Bench(engine, tmp_path / "catalogue")
    try:
        other.intake.settle()
        assert other.store.get(coming_id).onboarding_state == "UPLOADING"
        assert other.store.get(processed_id).tries == 1
        go_on.set()
        coming.whole()
        coming.end(None)
        for package_id in (processed_id, coming_id):
            assert bench.at_rest(package_id).onboarding_state == "ONBOARDED"
    finally:
        other.intake.close()


def test_what_a_dead_one_had_in_hand_is_settled(
    bench: Bench, engine: Engine, tmp_path: Path
) -> None:
    package_id = bench.store.create({}).package_id
    bench.intake.begin(package_id).write(b"half of it")
    bench.intake._in_hand.leave(package_id)  # as the kernel does for a process that died
    other = Bench(engine, tmp_path / "catalogue")
    try:
        other.intake.settle()
        row = other.at_rest(package_id)
        assert row.failure is not None
        assert "broke off" in row.failure["detail"]
        assert list(other.folder.iterdir()) == []
    finally:
        other.intake.close()
