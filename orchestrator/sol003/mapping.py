"""Deployments and operations in SOL003's documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from orchestrator.errors import UnknownOperationError
from orchestrator.sol003.documents import (
    AffectedVnfc,
    InstantiatedVnfInfo,
    Link,
    OccurrenceLinks,
    ResourceChanges,
    VnfInstance,
    VnfInstanceLinks,
    VnfLcmOpOcc,
)
from orchestrator.sol003.instance import Instance
from orchestrator.sol003.instances import INFO_ATTRIBUTES, VnfInstances
from orchestrator.sol003.members.documents import MemberDocuments, handle_of, vim_of, vnfc_of
from orchestrator.sol003.members.occurrences import Occurrences
from orchestrator.sol003.onboarding.vnfd import Vnfd
from orchestrator.sol003.packages import Vnfds, VnfPackages
from orchestrator.sol003.tables import InfoChangeRow
from orchestrator.store.tables import DeploymentRow, OperationRow
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.states import (
    ADMISSIBLE,
    DeploymentState,
    OperationKind,
    OperationState,
    allowed_actions,
)
from orchestrator.workflow.journal import OperationJournal

_CHANGE = {
    OperationKind.INSTANTIATE: "ADDED",
    OperationKind.TERMINATE: "REMOVED",
    OperationKind.OPERATE: "MODIFIED",
    OperationKind.HEAL: "MODIFIED",
}
_EVERY = 2**31 - 1


@dataclass(frozen=True)
class _Origins:
    """Which VNF instance each deployment is or was, and of which VNFD."""

    instances: dict[UUID, UUID]
    packages: dict[UUID, UUID]
    vnfds: Vnfds

    def instance_id(self, deployment: DeploymentRow) -> UUID:
        return self.instances.get(deployment.deployment_id, deployment.deployment_id)

    def vnfd(self, deployment: DeploymentRow) -> Vnfd:
        package = self.packages.get(self.instance_id(deployment))
        return self.vnfds.of(deployment.image_digest, package)


class Mapping:
    """Thread-safe; reads only."""

    def __init__(
        self,
        instances: VnfInstances,
        packages: VnfPackages,
        records: LcmRecords,
        journal: OperationJournal,
        drift: Callable[[DeploymentRow], str | None],
        occurrences: Occurrences,
    ) -> None:
        """`drift`: how what the VIM says of a deployment differs from its state."""
        self._instances = instances
        self._packages = packages
        self._records = records
        self._journal = journal
        self._drift = drift
        self._occurrences = occurrences
        self._members = MemberDocuments(occurrences, journal, drift)

    # --- VNF instances

    def instance(self, vnf_instance_id: UUID, root: str) -> VnfInstance:
        vnfds = self._packages.vnfds()
        return self._instance(self._instances.get(vnf_instance_id), vnfds, root)

    def instances(self, root: str) -> list[VnfInstance]:
        vnfds = self._packages.vnfds()
        return [self._instance(each, vnfds, root) for each in self._instances.all()]

    def _instance(self, instance: Instance, vnfds: Vnfds, root: str) -> VnfInstance:
        row = instance.row
        vnfd = vnfds.of(row.image_digest, row.package_id)
        here = f"{root}/vnflcm/v1/vnf_instances/{row.vnf_instance_id}"
        tasks = {t: Link(href=f"{here}/{t}") for t in instance.allowed if t != "delete"}
        told = self._told(instance, vnfd) if instance.is_instantiated else {}
        return VnfInstance(
            id=row.vnf_instance_id,
            vnf_instance_name=row.name or None,
            vnf_instance_description=row.description or None,
            vnfd_id=vnfd.descriptor_id,
            vnf_provider=vnfd.provider,
            vnf_product_name=vnfd.product_name,
            vnf_software_version=vnfd.software_version,
            vnfd_version=vnfd.descriptor_version,
            instantiation_state="INSTANTIATED" if told else "NOT_INSTANTIATED",
            metadata=row.key_values or None,
            links=VnfInstanceLinks(self=Link(href=here), **tasks),
            **told,
        )

    def _told(self, instance: Instance, vnfd: Vnfd) -> dict[str, Any]:
        """What is told of an INSTANTIATED one alone."""
        if instance.members or instance.deployment is None:
            return {
                "vim_connection_info": self._members.vims(instance),
                "instantiated_vnf_info": self._members.info(instance, vnfd),
                "extensions": self._members.extensions(instance),
            }
        return {
            "vim_connection_info": [vim_of(instance.deployment)],
            "instantiated_vnf_info": self._info(instance.deployment, vnfd),
            "extensions": self._extensions(instance.deployment),
        }

    def _info(self, deployment: DeploymentRow, vnfd: Vnfd) -> InstantiatedVnfInfo:
        state = deployment.state
        if state in (DeploymentState.OPERATING, DeploymentState.HEALING, DeploymentState.REMOVING):
            newest = self._journal.of_deployment(deployment.deployment_id)[-1]
            state = newest.state_before or state
        vnfc = vnfc_of(deployment, vnfd.vdus[0].vdu_id)
        return InstantiatedVnfInfo(
            flavour_id=vnfd.flavour_id,
            vnf_state="STARTED" if state == DeploymentState.RUNNING else "STOPPED",
            vnfc_resource_info=None if vnfc is None else [vnfc],
        )

    def _extensions(self, deployment: DeploymentRow) -> dict[str, Any]:
        """What is ours: placement, secrecy, and whether the VIM says the same."""
        told = {
            "data_centre": deployment.data_centre,
            "cipher": deployment.cipher,
            "key_mode": deployment.key_mode,
        }
        drift = self._drift(deployment)
        return told if drift is None else {**told, "drift": drift}

    # --- LCM operation occurrences

    def occurrence(self, occurrence_id: UUID, root: str) -> VnfLcmOpOcc:
        """Raises UnknownOperationError."""
        change = self._instances.info_change(occurrence_id)
        if change is not None:
            return _change(change, root)
        over = self._occurrences.find(occurrence_id)
        if over is not None:
            return self._members.occurrence(over, root)
        row = self._journal.get(occurrence_id)
        if self._occurrences.is_tied(occurrence_id):
            raise UnknownOperationError(
                f"{occurrence_id} is a member's operation, and no LCM operation occurrence.",
                next_step=f"See it as /api/v1/operations/{occurrence_id}.",
            )
        deployment = self._records.deployment(row.deployment_id)
        return self._occurrence(row, deployment, self._origins(), root)

    def occurrences(self, root: str) -> list[VnfLcmOpOcc]:
        """Newest first."""
        origins = self._origins()
        deployments = {row.deployment_id: row for row in self._records.deployments()}
        operations = self._journal.recent(_EVERY)
        # Asked after: a member's operation and its tie are recorded in one transaction.
        tied = self._occurrences.tied()
        found = [
            self._occurrence(row, deployments[row.deployment_id], origins, root)
            for row in operations
            if row.deployment_id in deployments and row.operation_id not in tied
        ]
        found += self._members.occurrences(root)
        found += [_change(change, root) for change in self._instances.info_changes()]
        return sorted(found, key=lambda each: (each.start_time, each.id.bytes), reverse=True)

    def _origins(self) -> _Origins:
        return _Origins(
            self._instances.history(), self._instances.packages(), self._packages.vnfds()
        )

    def _occurrence(
        self, row: OperationRow, deployment: DeploymentRow, origins: _Origins, root: str
    ) -> VnfLcmOpOcc:
        here = f"{root}/vnflcm/v1/vnf_lcm_op_occs/{row.operation_id}"
        instance_id = origins.instance_id(deployment)
        vnfd = origins.vnfd(deployment)
        state = OperationState.STARTING if row.state in ADMISSIBLE else OperationState(row.state)
        actions = {str(a): Link(href=f"{here}/{a}") for a in allowed_actions(row.state)}
        return VnfLcmOpOcc.model_validate(
            {
                "id": row.operation_id,
                "operation_state": state.value,
                "state_entered_time": self._entered(row),
                "start_time": row.created_at,
                "vnf_instance_id": instance_id,
                "operation": row.kind,
                "operation_params": _parameters(row, deployment, vnfd),
                "is_cancel_pending": row.cancel_requested and row.ended_at is None,
                "cancel_mode": "GRACEFUL" if row.cancel_requested else None,
                "error": None if state is OperationState.COMPLETED else row.error,
                "resource_changes": _resources(row, deployment, vnfd),
                "links": OccurrenceLinks(
                    self=Link(href=here),
                    vnf_instance=Link(href=f"{root}/vnflcm/v1/vnf_instances/{instance_id}"),
                    **actions,
                ),
            }
        )

    def _entered(self, row: OperationRow) -> datetime:
        """The last moment that is known of the operation."""
        if row.ended_at is not None:
            return row.ended_at
        if row.state in ADMISSIBLE:
            return row.created_at
        if row.state == OperationState.PROCESSING:
            return row.started_at or row.created_at
        return _last(
            [row.started_at, *(step.ended_at for step in self._journal.steps(row.operation_id))],
            row.created_at,
        )


def _last(moments: Iterable[datetime | None], first: datetime) -> datetime:
    return max([first, *(moment for moment in moments if moment is not None)])


def _parameters(row: OperationRow, deployment: DeploymentRow, vnfd: Vnfd) -> dict[str, Any]:
    said = row.parameters or {}
    if row.kind == OperationKind.OPERATE:
        return {"changeStateTo": said.get("change_to")}
    if row.kind == OperationKind.TERMINATE:
        return {"terminationType": said.get("termination", "FORCEFUL")}
    ours: dict[str, Any] = {"on_failure": row.on_failure}
    if "wait_s" in said:
        ours["wait_s"] = said["wait_s"]
    if row.kind == OperationKind.HEAL:
        return {"additionalParams": ours}
    return {
        "flavourId": vnfd.flavour_id,
        "additionalParams": {
            "data_centre": deployment.data_centre,
            "cipher": deployment.cipher,
            "key_mode": deployment.key_mode,
            "memory_mib": deployment.memory_mib,
            "cpus": deployment.cpus,
            **ours,
        },
    }


def _resources(row: OperationRow, deployment: DeploymentRow, vnfd: Vnfd) -> ResourceChanges | None:
    handle = handle_of(deployment)
    if row.state != OperationState.COMPLETED or handle is None:
        return None
    return ResourceChanges(
        affected_vnfcs=[
            AffectedVnfc.model_validate(
                {
                    "id": str(deployment.deployment_id),
                    "vdu_id": vnfd.vdus[0].vdu_id,
                    "change_type": _CHANGE[OperationKind(row.kind)],
                    "compute_resource": handle,
                }
            )
        ]
    )


def _change(row: InfoChangeRow, root: str) -> VnfLcmOpOcc:
    here = f"{root}/vnflcm/v1/vnf_lcm_op_occs/{row.occurrence_id}"
    instance = f"{root}/vnflcm/v1/vnf_instances/{row.vnf_instance_id}"
    told = {INFO_ATTRIBUTES[name]: value for name, value in row.changes.items()}
    return VnfLcmOpOcc(
        id=row.occurrence_id,
        operation_state="COMPLETED",
        state_entered_time=row.at,
        start_time=row.at,
        vnf_instance_id=row.vnf_instance_id,
        operation="MODIFY_INFO",
        operation_params=told,
        is_cancel_pending=False,
        changed_info=told,
        links=OccurrenceLinks(self=Link(href=here), vnf_instance=Link(href=instance)),
    )
