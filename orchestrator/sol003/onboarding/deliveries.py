"""Content of VNF packages that comes by `/api/v1/uploads`, over as many connections as it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from uuid import UUID

from orchestrator.sol003.errors import PackageBrokenOffError
from orchestrator.sol003.onboarding.arrival import not_stored
from orchestrator.sol003.onboarding.intake import PackageIntake
from orchestrator.sol003.onboarding.quota import PackageQuota
from orchestrator.sol003.onboarding.states import OnboardingState
from orchestrator.sol003.onboarding.store import PackageStore


class PackageDeliveries:
    """Thread-safe. A package is UPLOADING, with the size that was announced, as long as its upload
    is open; that may be over several starts of the orchestrator."""

    def __init__(self, store: PackageStore, intake: PackageIntake, quota: PackageQuota) -> None:
        self._store = store
        self._intake = intake
        self._quota = quota

    def expect(self, package_id: UUID, size_bytes: int) -> str:
        """Raises UnknownVnfPackageError, VnfPackageStateError or PackageLimitError."""
        return self._store.announced(package_id, size_bytes, self._quota).project

    def take(self, package_id: UUID, file: Path) -> None:
        """Raises PackageBrokenOffError where the disk does."""
        if package_id not in self._announced():
            return  # it was taken before a crash, and the package tells what became of it
        try:
            with file.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").digest()
            target = self._intake.file(package_id)
            target.unlink(missing_ok=True)
            target.hardlink_to(file)
        except OSError as error:
            raise not_stored(error) from error
        self._intake.arrived(package_id, file.stat().st_size, sha256)

    def expect_no_more(self, package_id: UUID) -> None:
        self._intake.broke_off(
            package_id,
            PackageBrokenOffError(
                "Its upload was thrown away before its end.", next_step="Upload it again."
            ),
        )

    def settle(self, coming: Collection[UUID]) -> None:
        for package_id in self._announced() - set(coming):
            self.expect_no_more(package_id)

    def _announced(self) -> set[UUID]:
        return {
            row.package_id
            for row in self._store.every().values()
            if row.onboarding_state == OnboardingState.UPLOADING and row.content_bytes is not None
        }
