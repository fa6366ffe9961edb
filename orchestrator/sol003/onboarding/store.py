"""Uploaded VNF packages in the database, and the ways between their states."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, Select, Update, delete, func, select, update
from sqlalchemy.orm import Session

from database import changed, in_batches, reading, writing
from orchestrator.projects.ownership import Kind, Ownership
from orchestrator.projects.tables import OwnedRow
from orchestrator.sol003.errors import (
    StaleTagError,
    UnknownVnfdError,
)
from orchestrator.sol003.onboarding.archive import refused
from orchestrator.sol003.onboarding.quota import PackageQuota
from orchestrator.sol003.onboarding.refusals import (
    check_enabled,
    state_refusal,
    unknown_package,
    used_refusal,
)
from orchestrator.sol003.onboarding.states import OnboardingState
from orchestrator.sol003.onboarding.tables import PackageImageRow, VnfPackageRow
from orchestrator.sol003.tables import VnfInstanceRow
from orchestrator.store.tables import ImageRow
from timekeeping import Clock


class PackageStore:
    """Thread-safe; every method is one transaction. Who asks sees what his projects own."""

    def __init__(self, engine: Engine, clock: Clock, ownership: Ownership) -> None:
        """`engine` with the tables of `migrate_sol003`."""
        self._engine = engine
        self._clock = clock
        self._ownership = ownership

    # --- looking

    def get(self, package_id: UUID) -> VnfPackageRow:
        """Raises UnknownVnfPackageError."""
        is_seen = self._ownership.sees(Kind.PACKAGE, package_id)
        with reading(self._engine) as session:
            row = session.get(VnfPackageRow, package_id)
            if row is None or not is_seen:
                raise unknown_package(package_id)
            session.expunge(row)
            return row

    def all(self) -> list[VnfPackageRow]:
        """Newest first."""
        seen = self._ownership.among(Kind.PACKAGE, VnfPackageRow.__table__.c.package_id)
        with reading(self._engine) as session:
            rows = session.scalars(
                select(VnfPackageRow).where(seen).order_by(VnfPackageRow.created_at.desc())
            ).all()
            session.expunge_all()
            return list(rows)

    def every(self, package_ids: Collection[UUID] | None = None) -> dict[UUID, VnfPackageRow]:
        """By id, whoever owns them: for who knows already that they may be told of."""
        statement = select(VnfPackageRow)
        if package_ids is not None:
            statement = statement.where(VnfPackageRow.package_id.in_(package_ids))
        with reading(self._engine) as session:
            rows = session.scalars(statement).all()
            session.expunge_all()
            return {row.package_id: row for row in rows}

    def of_vnfd(self, vnfd_id: UUID, project: str) -> VnfPackageRow | None:
        """The project's own: others can have one with the same VNFD, and other content."""
        with reading(self._engine) as session:
            row = session.scalars(
                select(VnfPackageRow).where(
                    VnfPackageRow.vnfd_id == vnfd_id, VnfPackageRow.project == project
                )
            ).first()
            session.expunge_all()
            return row

    def users(self, package_id: UUID) -> int:
        """How many VNF instances are of it."""
        return len(self.instances_of([package_id])[package_id])

    def instances_of(self, package_ids: Iterable[UUID]) -> dict[UUID, list[VnfInstanceRow]]:
        """The VNF instances of each package, oldest first."""
        found: dict[UUID, list[VnfInstanceRow]] = defaultdict(list)
        asked = list(package_ids)
        with reading(self._engine) as session:
            for some in in_batches(asked):
                for row in session.scalars(_instances_of(some)):
                    found[_package_of(row)].append(row)
            session.expunge_all()
        return {package_id: found[package_id] for package_id in asked}

    def of_image(self, digest: bytes) -> int:
        """How many packages that who asks may know of have this image."""
        seen = self._ownership.among(Kind.PACKAGE, VnfPackageRow.__table__.c.package_id)
        with reading(self._engine) as session:
            statement = (
                select(func.count(VnfPackageRow.package_id.distinct()))
                .join(PackageImageRow, PackageImageRow.package_id == VnfPackageRow.package_id)
                .where(PackageImageRow.image_digest == digest, seen)
            )
            return session.scalar(statement) or 0

    def images(
        self, package_ids: Iterable[UUID] | None = None
    ) -> dict[UUID, dict[str, PackageImageRow]]:
        """By package and VDU, whoever owns them."""
        statement = select(PackageImageRow)
        asked = [None] if package_ids is None else in_batches(list(package_ids))
        found: dict[UUID, dict[str, PackageImageRow]] = {}
        with reading(self._engine) as session:
            for some in asked:
                its = statement
                if some is not None:
                    its = statement.where(PackageImageRow.package_id.in_(some))
                for row in session.scalars(its):
                    found.setdefault(row.package_id, {})[row.vdu_id] = row
            session.expunge_all()
        return found

    def is_brought(self, digest: bytes, project: str) -> bool:
        """Whether the project has this image by a package already."""
        with reading(self._engine) as session:
            statement = (
                select(VnfPackageRow.package_id)
                .join(PackageImageRow, PackageImageRow.package_id == VnfPackageRow.package_id)
                .where(
                    PackageImageRow.image_digest == digest,
                    PackageImageRow.is_brought,
                    VnfPackageRow.project == project,
                )
            )
            return session.scalars(statement.limit(1)).first() is not None

    def images_of(self, project: str) -> set[bytes]:
        """Digests of the images that a project owns."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(OwnedRow.thing).where(
                    OwnedRow.kind == Kind.IMAGE.value, OwnedRow.project == project
                )
            )
            return {bytes(thing) for thing in rows}

    def owners_of_image(self, digest: bytes) -> set[str]:
        with reading(self._engine) as session:
            return set(
                session.scalars(
                    select(OwnedRow.project).where(
                        OwnedRow.kind == Kind.IMAGE.value, OwnedRow.thing == digest
                    )
                )
            )

    # --- changing

    def create(self, user_data: dict[str, Any], quota: PackageQuota | None = None) -> VnfPackageRow:
        """A CREATED one; `user_data` may name its `project`. Raises UnknownProjectError,
        ProjectChoiceError or PackageLimitError."""
        asked = user_data.get("project")
        project = self._ownership.choose(None if asked is None else str(asked))
        row = VnfPackageRow(
            package_id=uuid4(),
            project=project,
            onboarding_state=OnboardingState.CREATED.value,
            is_enabled=False,
            user_data=user_data,
            tries=0,
            created_at=self._clock.now(),
        )
        with writing(self._engine) as session:
            if quota is not None:
                quota.check_one_more(session, project)
            session.add(row)
            self._ownership.own(session, Kind.PACKAGE, row.package_id, project)
        return row

    def move(
        self, package_id: UUID, source: OnboardingState, target: OnboardingState, **values: Any
    ) -> bool:
        """Change the state; False where it is another one than `source`."""
        with writing(self._engine) as session:
            statement = _move(package_id, source)
            return changed(session, statement.values(onboarding_state=target.value, **values)) == 1

    def room_bytes(self, row: VnfPackageRow, quota: PackageQuota) -> int:
        """How much content `row` may have."""
        with reading(self._engine) as session:
            return quota.room_bytes(session, row)

    def announced(self, package_id: UUID, size_bytes: int, quota: PackageQuota) -> VnfPackageRow:
        """So much content will come. Raises UnknownVnfPackageError, VnfPackageStateError or
        PackageLimitError."""
        row = self.get(package_id)
        with writing(self._engine) as session:
            quota.check_bytes(session, row, size_bytes)
            moved = changed(
                session,
                _move(package_id, OnboardingState.CREATED).values(
                    onboarding_state=OnboardingState.UPLOADING.value, content_bytes=size_bytes
                ),
            )
        if moved != 1:
            raise state_refusal(
                self.get(package_id), "given content", "Create another package for it."
            )
        return row

    def arrived(
        self, package_id: UUID, at: datetime, size: int, sha256: bytes, quota: PackageQuota | None
    ) -> bool:
        """All of its content is here, from now on it is processed; False where it was not
        UPLOADING. Raises PackageLimitError, or UnknownVnfPackageError."""
        with writing(self._engine) as session:
            row = session.get(VnfPackageRow, package_id)
            if row is None:
                raise unknown_package(package_id)
            if quota is not None:
                quota.check_bytes(session, row, size)
            moved = _move(package_id, OnboardingState.UPLOADING).values(
                onboarding_state=OnboardingState.PROCESSING.value,
                content_bytes=size,
                content_sha256=sha256,
                arrived_at=at,
                tries=0,
                failure=None,
            )
            return changed(session, moved) == 1

    def onboarded(
        self,
        row: VnfPackageRow,
        images: Mapping[str, bytes],
        *,
        is_brought: Callable[[bytes], bool],
        **values: Any,
    ) -> None:
        """Its images, by VDU, are in the catalogue; `is_brought` says whether its project has one
        by packages alone. Raises PackageRefusedError if one just went."""
        with writing(self._engine) as session:
            # Locked: who removes an image counts the packages that have it, and who adds it by
            # himself looks for them.
            for digest in sorted(set(images.values())):
                image = session.get(ImageRow, digest, with_for_update=True)
                owned = session.get(OwnedRow, (Kind.IMAGE.value, digest, row.project))
                if image is None or owned is None:
                    raise refused(
                        "Its image was deleted while the package was processed.",
                        "Upload the package again.",
                    )
            moved = changed(
                session,
                _move(row.package_id, OnboardingState.PROCESSING).values(
                    onboarding_state=OnboardingState.ONBOARDED.value,
                    is_enabled=True,
                    failure=None,
                    **values,
                ),
            )
            if moved == 1:
                session.add_all(
                    PackageImageRow(
                        package_id=row.package_id,
                        vdu_id=vdu_id,
                        image_digest=digest,
                        is_brought=is_brought(digest),
                    )
                    for vdu_id, digest in images.items()
                )

    @staticmethod
    def image_added(session: Session, digest: bytes, project: str) -> None:
        """Within the transaction in which a project adds an image by itself: it stays when the
        packages go."""
        its = select(VnfPackageRow.package_id).where(VnfPackageRow.project == project)
        session.execute(
            update(PackageImageRow)
            .where(PackageImageRow.image_digest == digest, PackageImageRow.package_id.in_(its))
            .values(is_brought=False)
            .execution_options(synchronize_session=False)
        )

    def modify(
        self,
        package_id: UUID,
        *,
        is_enabled: bool | None = None,
        merge: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        as_read: VnfPackageRow | None = None,
    ) -> VnfPackageRow:
        """Enable or disable it; `merge` makes the new `userDefinedData` of the present one.

        Raises StaleTagError where it is not `as_read` any more, UnknownVnfPackageError, what
        `merge` does, and VnfPackageStateError where it cannot be enabled or disabled now.
        """
        with writing(self._engine) as session:
            row = session.get(VnfPackageRow, package_id, with_for_update=True)
            if row is None:
                raise unknown_package(package_id)
            if as_read is not None and _changeable(row) != _changeable(as_read):
                raise StaleTagError(
                    "It was changed at this moment.",
                    next_step="Read it again, then send the change with its new ETag.",
                )
            if is_enabled is not None:
                if row.onboarding_state != OnboardingState.ONBOARDED:
                    raise state_refusal(row, "enabled or disabled", "Upload its content first.")
                if is_enabled == row.is_enabled:
                    word = "ENABLED" if is_enabled else "DISABLED"
                    raise state_refusal(row, f"set to {word}", f"It is {word} already.")
                row.is_enabled = is_enabled
            if merge is not None:
                row.user_data = merge(row.user_data)
            session.flush()
            session.expunge(row)
            return row

    def delete(self, package_id: UUID) -> tuple[VnfPackageRow, set[bytes]]:
        """The row that there was, and the images that had come by it. Raises
        UnknownVnfPackageError or VnfPackageStateError."""
        self.get(package_id)
        with writing(self._engine) as session:
            # Locked: an instance of it that is created now locks the row as well.
            row = session.get(VnfPackageRow, package_id, with_for_update=True)
            if row is None:
                raise unknown_package(package_id)
            if row.onboarding_state in (OnboardingState.UPLOADING, OnboardingState.PROCESSING):
                raise state_refusal(
                    row,
                    "deleted",
                    "Throw its upload away, or wait until it is ONBOARDED or CREATED again.",
                )
            if users := session.scalars(_instances_of([package_id])).all():
                raise used_refusal(row, [user.name or str(user.vnf_instance_id) for user in users])
            if row.is_enabled:
                raise state_refusal(row, "deleted", "Disable it first (operationalState DISABLED).")
            its = PackageImageRow.package_id == package_id
            brought = set(
                session.scalars(
                    select(PackageImageRow.image_digest).where(its, PackageImageRow.is_brought)
                )
            )
            session.execute(delete(PackageImageRow).where(its))
            session.delete(row)
            self._ownership.disown(session, Kind.PACKAGE, package_id)
            session.flush()
            session.expunge(row)
        return row, brought


def claim(session: Session, package_id: UUID) -> None:
    """Within the transaction that makes a VNF instance of it: it stays, and is ENABLED."""
    row = session.get(VnfPackageRow, package_id, with_for_update=True)
    if row is None:
        raise UnknownVnfdError(
            "The VNF package with this VNFD was just deleted.",
            next_step="List the packages (GET /vnfpkgm/v1/vnf_packages).",
        )
    check_enabled(row)


def _move(package_id: UUID, source: OnboardingState) -> Update:
    """A change of the package, where it is in the state `source`."""
    return update(VnfPackageRow).where(
        VnfPackageRow.package_id == package_id, VnfPackageRow.onboarding_state == source.value
    )


def _instances_of(package_ids: Collection[UUID]) -> Select[VnfInstanceRow]:
    return (
        select(VnfInstanceRow)
        .where(VnfInstanceRow.package_id.in_(package_ids))
        .order_by(VnfInstanceRow.created_at)
    )


def _package_of(row: VnfInstanceRow) -> UUID:
    assert row.package_id is not None  # it was asked for by that
    return row.package_id


def _changeable(row: VnfPackageRow) -> tuple[object, ...]:
    return row.user_data, row.is_enabled, row.onboarding_state
