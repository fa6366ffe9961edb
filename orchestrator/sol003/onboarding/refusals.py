"""How packages that are not in the right state, or not there, are told."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from orchestrator.sol003.errors import UnknownVnfPackageError, VnfPackageStateError
from orchestrator.sol003.onboarding.tables import VnfPackageRow

_NAMED = 5
"""So many users of a package are told by name."""


def check_enabled(row: VnfPackageRow) -> None:
    """Raises VnfPackageStateError where no VNF may be made of it."""
    if not row.is_enabled:
        raise state_refusal(row, "used for a VNF", "Enable it first (operationalState ENABLED).")


def state_refusal(
    row: VnfPackageRow, what: str, next_step: str, because: str | None = None, **more: Any
) -> VnfPackageStateError:
    operational = "ENABLED" if row.is_enabled else "DISABLED"
    why = because or f"it is {row.onboarding_state} and {operational}"
    return VnfPackageStateError(
        f"VNF package {row.package_id} cannot be {what}: {why}.",
        next_step=next_step,
        state=row.onboarding_state,
        operational_state=operational,
        **more,
    )


def used_refusal(row: VnfPackageRow, names: list[str]) -> VnfPackageStateError:
    told = ", ".join(names[:_NAMED]) + (", and others" if len(names) > _NAMED else "")
    return state_refusal(
        row,
        "deleted",
        "Delete those first.",
        because=f"{len(names)} VNF instance(s) are of it: {told}",
        users=len(names),
    )


def unknown_package(package_id: UUID) -> UnknownVnfPackageError:
    return UnknownVnfPackageError(
        f"There is no VNF package {package_id}.",
        next_step="List the packages: GET /vnfpkgm/v1/vnf_packages.",
    )
