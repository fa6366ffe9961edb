"""The tasks of VNF instances, handed to the engine."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from orchestrator.audit.subjects import name_subjects
from orchestrator.sol003.documents import InstantiationPlan, MemberPlan
from orchestrator.sol003.errors import AdditionalParamsError, MalformedRequestError
from orchestrator.sol003.instances import Instance, VnfInstances, check_allowed
from orchestrator.sol003.onboarding.vnfd import Vnfd
from orchestrator.sol003.packages import VnfPackages
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import DeploymentRequest, DeploymentView, HealRequest

Wanted = TypeVar("Wanted", bound=BaseModel)

_NOT_IN_PARAMS = ("image", "name", "project", "deployment_id")
"""What a deployment request says and the VNF instance knows already."""
_SERVICE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class VnfTasks:
    """Thread-safe. Each task answers the id of its LCM operation occurrence."""

    def __init__(
        self,
        instances: VnfInstances,
        packages: VnfPackages,
        records: LcmRecords,
        lifecycle: Lifecycle,
    ) -> None:
        self._instances = instances
        self._packages = packages
        self._records = records
        self._lifecycle = lifecycle

    def instantiate(self, vnf_instance_id: UUID, flavour_id: str, params: dict[str, Any]) -> UUID:
        """What `params` does not say, the VNFD may. Raises VnfInstanceStateError,
        VnfPackageStateError, MalformedRequestError, AdditionalParamsError, and what forbids a
        deployment."""
        instance = self._allowed(vnf_instance_id, "instantiate")
        request, _ = self._request(instance, flavour_id, params)
        deployment_id = self._instances.next_deployment(instance)
        view = self._lifecycle.deploy(
            request.model_copy(update={"deployment_id": deployment_id}),
            within=lambda session: self._instances.hold(session, instance, deployment_id),
        )
        return _named(view, vnf_instance_id)

    def plan(
        self, vnf_instance_id: UUID, flavour_id: str, params: dict[str, Any]
    ) -> InstantiationPlan:
        """What `instantiate` would take; raises what that would, but for a missing key."""
        instance = self._allowed(vnf_instance_id, "instantiate")
        request, vnfd = self._request(instance, flavour_id, params)
        plan = self._lifecycle.plan(request)
        return InstantiationPlan(
            vnf_instance_id=vnf_instance_id,
            flavour_id=vnfd.flavour_id,
            members=[MemberPlan(vdu_id=vnfd.vdu_id, plan=plan.model_dump(mode="json"))],
            takes_s=plan.takes_s,
        )

    def _request(
        self, instance: Instance, flavour_id: str, params: dict[str, Any]
    ) -> tuple[DeploymentRequest, Vnfd]:
        row = instance.row
        vnfd = self._packages.vnfd_of(row)
        if flavour_id != vnfd.flavour_id:
            raise MalformedRequestError(
                f"flavourId: the VNFD has no flavour {flavour_id}.",
                next_step=f"Use {vnfd.flavour_id}.",
            )
        sized = {"memory_mib": vnfd.memory_mib, "cpus": vnfd.cpus}
        wished = {name: value for name, value in sized.items() if value is not None}
        known = {
            "image": row.image_digest.hex(),
            "name": row.name if _SERVICE_NAME.fullmatch(row.name) else None,
            "project": self._records.project_of(row.vnf_instance_id),
        }
        ours = set(DeploymentRequest.model_fields) - set(_NOT_IN_PARAMS)
        _check_names(params, ours)
        return _read(DeploymentRequest, {**wished, **params, **known}), vnfd

    def terminate(self, vnf_instance_id: UUID, *, graceful: bool) -> UUID:
        instance = self._allowed(vnf_instance_id, "terminate")
        view = self._lifecycle.remove(instance.row.deployment_id, graceful=graceful)
        return _named(view, vnf_instance_id)

    def operate(self, vnf_instance_id: UUID, change_to: Literal["STARTED", "STOPPED"]) -> UUID:
        instance = self._allowed(vnf_instance_id, "operate")
        return _named(
            self._lifecycle.operate(instance.row.deployment_id, change_to), vnf_instance_id
        )

    def heal(self, vnf_instance_id: UUID, params: dict[str, Any]) -> UUID:
        instance = self._allowed(vnf_instance_id, "heal")
        _check_names(params, set(HealRequest.model_fields))
        request: HealRequest = _read(HealRequest, params)
        return _named(self._lifecycle.heal(instance.row.deployment_id, request), vnf_instance_id)

    def _allowed(self, vnf_instance_id: UUID, task: str) -> Instance:
        instance = self._instances.get(vnf_instance_id)
        check_allowed(instance, task)
        return instance


def _named(view: DeploymentView, vnf_instance_id: UUID) -> UUID:
    """The occurrence, after the audit was told what the request is about."""
    name_subjects(
        vnf_instance=vnf_instance_id,
        deployment=view.deployment_id,
        operation=view.operation_id,
        image=view.image_digest,
        data_centre=view.data_centre,
    )
    return view.operation_id


def _check_names(params: dict[str, Any], known: set[str]) -> None:
    strange = sorted(set(params) - known)
    if strange:
        raise AdditionalParamsError(
            f"additionalParams has {', '.join(strange)}, which means nothing here.",
            next_step=f"It may have: {', '.join(sorted(known))}.",
        )


def _read(model: type[Wanted], document: dict[str, Any]) -> Wanted:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        faults = [
            {
                "where": ".".join(["additionalParams", *(str(part) for part in each["loc"])]),
                "why": each["msg"],
            }
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise AdditionalParamsError(
            "; ".join(f"{fault['where']}: {fault['why']}" for fault in faults),
            next_step="Correct the named parameters; docs/sol003.md has their meaning.",
            faults=faults,
        ) from None
