"""How many VNF packages a project may hold, and how much of the disk."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orchestrator.projects.tables import ProjectRow
from orchestrator.settings import PackagesTable
from orchestrator.sol003.errors import PackageLimitError
from orchestrator.sol003.onboarding.states import OnboardingState
from orchestrator.sol003.onboarding.tables import VnfPackageRow


class PackageQuota:
    """Thread-safe. Methods belong to the caller's transaction, in which nobody else adds to the
    project."""

    def __init__(self, limits: PackagesTable) -> None:
        self._limits = limits

    def check_one_more(self, session: Session, project: str) -> None:
        """Raises PackageLimitError where the project holds as many packages as it may."""
        _lock(session, project)
        held = session.scalar(
            select(func.count()).select_from(VnfPackageRow).where(VnfPackageRow.project == project)
        )
        if (held or 0) >= self._limits.most_per_project:
            raise PackageLimitError(
                f"The project {project} holds {held} VNF packages, the most allowed.",
                next_step="Delete one that is not used, or have packages.most_per_project raised.",
            )

    def check_bytes(self, session: Session, row: VnfPackageRow, size_bytes: int) -> None:
        """Raises PackageLimitError where `size_bytes` of content of `row` do not fit beside what
        its project holds."""
        _lock(session, row.project)
        if size_bytes > self.room_bytes(session, row):
            raise self.refusal(row.project)

    def room_bytes(self, session: Session, row: VnfPackageRow) -> int:
        """How much content `row` may have beside what its project holds."""
        held = session.scalar(
            select(func.sum(VnfPackageRow.content_bytes)).where(
                VnfPackageRow.project == row.project,
                VnfPackageRow.package_id != row.package_id,
                VnfPackageRow.onboarding_state != OnboardingState.CREATED.value,
            )
        )
        return max(0, self._limits.most_bytes_per_project - int(held or 0))

    def refusal(self, project: str) -> PackageLimitError:
        most = self._limits.most_bytes_per_project
        return PackageLimitError(
            f"The VNF packages of the project {project} would hold more than {most} bytes.",
            next_step="Delete one that is not used, or have packages.most_bytes_per_project "
            "raised.",
        )


def _lock(session: Session, project: str) -> None:
    session.get(ProjectRow, project, with_for_update=True)
