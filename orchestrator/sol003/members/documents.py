"""VNFs of several members, and occurrences over them, in SOL003's documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from orchestrator.sol003.documents import (
    AffectedVnfc,
    ChangeType,
    InstantiatedVnfInfo,
    Link,
    MemberOperation,
    OccurrenceLinks,
    ResourceChanges,
    ResourceHandle,
    ScaleInfo,
    VimConnectionInfo,
    VnfcResourceInfo,
    VnfLcmOpOcc,
)
from orchestrator.sol003.instance import Instance
from orchestrator.sol003.members.aggregate import Course
from orchestrator.sol003.members.occurrences import Occurrences
from orchestrator.sol003.members.settling import MemberPart, error_of
from orchestrator.sol003.members.shape import Member
from orchestrator.sol003.onboarding.vnfd import Vnfd
from orchestrator.sol003.tables import OccurrenceRow
from orchestrator.store.tables import DeploymentRow
from orchestrator.vnf_lcm.states import (
    ENDED,
    DeploymentState,
    OperationKind,
    OperationState,
    allowed_actions,
)
from orchestrator.workflow.journal import OperationJournal

_STARTED = (DeploymentState.RUNNING, DeploymentState.HEALING)


def handle_of(deployment: DeploymentRow) -> ResourceHandle | None:
    """Where its VIM knows it; none before it was there."""
    instance = deployment.instance
    if not instance:
        return None
    return ResourceHandle(
        vim_connection_id=deployment.data_centre,
        resource_id=instance.get("vim_instance_id") or instance["instance_id"],
    )


def vnfc_of(deployment: DeploymentRow, vdu_id: str) -> VnfcResourceInfo | None:
    handle = handle_of(deployment)
    if handle is None:
        return None
    return VnfcResourceInfo(
        id=str(deployment.deployment_id),
        vdu_id=vdu_id,
        compute_resource=handle,
        metadata={"end_points": (deployment.instance or {}).get("end_points", [])},
    )


def vim_of(deployment: DeploymentRow) -> VimConnectionInfo:
    return VimConnectionInfo(
        id=deployment.data_centre, vim_type=(deployment.instance or {}).get("vim", "unknown")
    )


class MemberDocuments:
    """Thread-safe; reads only."""

    def __init__(
        self,
        occurrences: Occurrences,
        journal: OperationJournal,
        drift: Callable[[DeploymentRow], str | None],
    ) -> None:
        self._occurrences = occurrences
        self._journal = journal
        self._drift = drift

    def info(self, instance: Instance, vnfd: Vnfd) -> InstantiatedVnfInfo:
        """STARTED while any member runs."""
        found = [vnfc_of(member.deployment, member.vdu_id) for member in instance.members]
        shape = instance.shape
        levels = {} if shape is None else shape.scale_levels
        runs = any(member.deployment.state in _STARTED for member in instance.members)
        return InstantiatedVnfInfo(
            flavour_id=vnfd.flavour_id,
            vnf_state="STARTED" if runs else "STOPPED",
            scale_status=[
                ScaleInfo(aspect_id=aspect_id, scale_level=level)
                for aspect_id, level in levels.items()
            ]
            or None,
            vnfc_resource_info=[each for each in found if each is not None] or None,
        )

    def vims(self, instance: Instance) -> list[VimConnectionInfo]:
        found = {each.data_centre: vim_of(each) for each in instance.deployments}
        return [found[name] for name in sorted(found)]

    def extensions(self, instance: Instance) -> dict[str, Any]:
        """Placement, secrecy, and where the VIM says something else than we do."""
        first = instance.deployments[0]
        told: dict[str, Any] = {
            "data_centres": sorted({each.data_centre for each in instance.deployments}),
            "cipher": first.cipher,
            "key_mode": first.key_mode,
        }
        drifts = {
            str(member.deployment.deployment_id): drift
            for member in instance.members
            if (drift := self._drift(member.deployment)) is not None
        }
        return {**told, "drift": drifts} if drifts else told

    def occurrence(self, row: OccurrenceRow, root: str) -> VnfLcmOpOcc:
        """With each member's operation and its steps, and the removals that follow."""
        members = self._occurrences.members([row.vnf_instance_id], gone_too=True)
        parts = self._occurrences.parts(row.occurrence_id)
        document = self._occurrence(row, parts, members, root)
        told = [self._operation(part) for part in parts] + self._removals_to_come(row, parts)
        document.members = told or None
        return document

    def occurrences(self, root: str) -> list[VnfLcmOpOcc]:
        """All, without their members."""
        rows = self._occurrences.all()
        members = self._occurrences.members(gone_too=True)
        parts = self._occurrences.parts_of(row.occurrence_id for row in rows)
        return [
            self._occurrence(row, parts.get(row.occurrence_id, []), members, root) for row in rows
        ]

    def _occurrence(
        self,
        row: OccurrenceRow,
        parts: list[MemberPart],
        members: dict[UUID, list[Member]],
        root: str,
    ) -> VnfLcmOpOcc:
        """`members` by VNF instance, with those that are gone."""
        here = f"{root}/vnflcm/v1/vnf_lcm_op_occs/{row.occurrence_id}"
        is_done = row.state == OperationState.COMPLETED
        actions = {str(each): Link(href=f"{here}/{each}") for each in allowed_actions(row.state)}
        its = {each.deployment.deployment_id: each for each in members.get(row.vnf_instance_id, ())}
        return VnfLcmOpOcc.model_validate(
            {
                "id": row.occurrence_id,
                "operation_state": row.state,
                "state_entered_time": row.entered_at,
                "start_time": row.created_at,
                "vnf_instance_id": row.vnf_instance_id,
                "operation": row.kind,
                "operation_params": row.parameters,
                "is_cancel_pending": row.cancel_requested and row.ended_at is None,
                "cancel_mode": "GRACEFUL" if row.cancel_requested else None,
                "error": None if is_done else error_of(parts),
                "resource_changes": _resources(parts, its) if is_done else None,
                "links": OccurrenceLinks(
                    self=Link(href=here),
                    vnf_instance=Link(href=f"{root}/vnflcm/v1/vnf_instances/{row.vnf_instance_id}"),
                    **actions,
                ),
            }
        )

    def _removals_to_come(
        self, row: OccurrenceRow, parts: list[MemberPart]
    ) -> list[MemberOperation]:
        """Of one that adds first: what it removes then, unless something else was decided."""
        goes_on = row.state not in ENDED and row.course == Course.FORWARD
        if not row.then_removes or not goes_on:
            return []
        begun = {part.deployment_id for part in parts}
        return [
            MemberOperation(
                vdu_id=member.vdu_id,
                number=member.number,
                data_centre=member.deployment.data_centre,
                deployment_id=member.deployment.deployment_id,
                change_type="REMOVED",
            )
            for member in self._occurrences.leaving(row)
            if member.deployment.deployment_id not in begun
        ]

    def _operation(self, part: MemberPart) -> MemberOperation:
        return MemberOperation(
            vdu_id=part.vdu_id,
            number=part.number,
            data_centre=part.data_centre,
            deployment_id=part.deployment_id,
            change_type=_CHANGE[part.kind],
            operation_id=part.operation_id,
            operation_state=part.part.state.value,
            steps={step.name: step.state for step in self._journal.steps(part.operation_id)},
            error=part.error if part.part.state is not OperationState.COMPLETED else None,
        )


_CHANGE: dict[OperationKind, ChangeType] = {
    OperationKind.INSTANTIATE: "ADDED",
    OperationKind.TERMINATE: "REMOVED",
    OperationKind.OPERATE: "MODIFIED",
    OperationKind.HEAL: "MODIFIED",
}


def _resources(parts: list[MemberPart], members: dict[UUID, Member]) -> ResourceChanges | None:
    affected = []
    for part in parts:
        member = members.get(part.deployment_id)
        handle = None if member is None else handle_of(member.deployment)
        if handle is not None:
            affected.append(
                AffectedVnfc.model_validate(
                    {
                        "id": str(part.deployment_id),
                        "vdu_id": part.vdu_id,
                        "change_type": _CHANGE[part.kind],
                        "compute_resource": handle,
                    }
                )
            )
    return ResourceChanges(affected_vnfcs=affected) if affected else None
