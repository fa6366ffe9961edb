"""The tasks of VNF instances, handed to the engine."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from orchestrator.audit.subjects import name_subjects
from orchestrator.sol003.documents import (
    InstantiateVnfRequest,
    InstantiationPlan,
    MemberPlan,
    ScaleVnfRequest,
    ScaleVnfToLevelRequest,
)
from orchestrator.sol003.errors import AdditionalParamsError, MalformedRequestError
from orchestrator.sol003.instance import Instance, check_allowed
from orchestrator.sol003.instances import VnfInstances
from orchestrator.sol003.members.scaling import shape_after, shape_wanted
from orchestrator.sol003.members.shape import Shape, Slot, first_shape, placement_of
from orchestrator.sol003.members.tasks import MemberTasks
from orchestrator.sol003.onboarding.vnfd import InstantiationLevel, Vdu, Vnfd
from orchestrator.sol003.packages import VnfPackages
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import DeploymentRequest, DeploymentView, HealRequest, PlanView

Wanted = TypeVar("Wanted", bound=BaseModel)

_NOT_IN_PARAMS = {"image", "name", "project", "deployment_id"}
"""What a deployment request says and the VNF instance knows already."""
_PLACEMENT = {"data_centre", "data_centres"}
_SCALING = {"wait_s", "on_failure"}
_SERVICE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class VnfTasks:
    """Thread-safe. Each task answers the id of its LCM operation occurrence."""

    def __init__(
        self,
        instances: VnfInstances,
        packages: VnfPackages,
        records: LcmRecords,
        lifecycle: Lifecycle,
        members: MemberTasks,
    ) -> None:
        self._instances = instances
        self._packages = packages
        self._records = records
        self._lifecycle = lifecycle
        self._members = members

    def instantiate(self, vnf_instance_id: UUID, wanted: InstantiateVnfRequest) -> UUID:
        """What its `additional_params` do not say, the VNFD may. Raises VnfInstanceStateError,
        VnfPackageStateError, MalformedRequestError, AdditionalParamsError, and what forbids a
        deployment."""
        instance = self._allowed(vnf_instance_id, "instantiate")
        vnfd, level, shape = self._first_shape(instance, wanted)
        requests = self._requests(instance, vnfd, shape, shape.slots())
        if not _is_one(vnfd, shape):
            told = {
                "flavourId": vnfd.flavour_id,
                "instantiationLevelId": level.level_id,
                "additionalParams": wanted.additional_params,
            }
            return _told(self._members.instantiate(instance, shape, requests, told), instance)
        request = requests[0][1]
        deployment_id = self._instances.next_deployment(instance)
        view = self._lifecycle.deploy(
            request.model_copy(update={"deployment_id": deployment_id}),
            within=lambda session: self._instances.hold(session, instance, deployment_id),
        )
        return _named(view, vnf_instance_id)

    def plan(self, vnf_instance_id: UUID, wanted: InstantiateVnfRequest) -> InstantiationPlan:
        """What `instantiate` would take; raises what that would, but for a missing key."""
        instance = self._allowed(vnf_instance_id, "instantiate")
        vnfd, level, shape = self._first_shape(instance, wanted)
        slots = shape.slots()
        many = Counter((slot.vdu_id, slot.data_centre) for slot in slots)
        first = [slot for slot in slots if slot.number == 1]
        members = [
            (slot, many[slot.vdu_id, slot.data_centre], self._lifecycle.plan(request))
            for slot, request in self._requests(instance, vnfd, shape, first)
        ]
        key_bits: Counter[str] = Counter()
        for slot, count, plan in members:
            key_bits[slot.data_centre] += count * plan.key_bits
        return InstantiationPlan(
            vnf_instance_id=vnf_instance_id,
            flavour_id=vnfd.flavour_id,
            instantiation_level_id=level.level_id,
            members=[
                MemberPlan(vdu_id=slot.vdu_id, instances=count, plan=plan.model_dump(mode="json"))
                for slot, count, plan in members
            ],
            key_bits=dict(key_bits),
            takes_s=_takes_s([(count, plan) for _, count, plan in members]),
        )

    def terminate(self, vnf_instance_id: UUID, *, graceful: bool) -> UUID:
        instance = self._allowed(vnf_instance_id, "terminate")
        if instance.members:
            return _told(self._members.terminate(instance, graceful=graceful), instance)
        view = self._lifecycle.remove(instance.row.deployment_id, graceful=graceful)
        return _named(view, vnf_instance_id)

    def operate(self, vnf_instance_id: UUID, change_to: Literal["STARTED", "STOPPED"]) -> UUID:
        instance = self._allowed(vnf_instance_id, "operate")
        if instance.members:
            return _told(self._members.operate(instance, change_to), instance)
        return _named(
            self._lifecycle.operate(instance.row.deployment_id, change_to), vnf_instance_id
        )

    def heal(self, vnf_instance_id: UUID, params: dict[str, Any]) -> UUID:
        instance = self._allowed(vnf_instance_id, "heal")
        _check_names(params, set(HealRequest.model_fields))
        request: HealRequest = _read(HealRequest, params)
        if instance.members:
            return _told(self._members.heal(instance, request), instance)
        return _named(self._lifecycle.heal(instance.row.deployment_id, request), vnf_instance_id)

    def scale(self, vnf_instance_id: UUID, wanted: ScaleVnfRequest) -> UUID:
        """Raises VnfInstanceStateError where the VNFD has no scaling, ScaleRefusedError where it
        has not that one."""
        instance = self._allowed(vnf_instance_id, "scale")
        vnfd, shape = self._packages.vnfd_of(instance.row), instance.shape
        assert shape is not None, "it can be scaled"
        return self._scale(instance, "SCALE", vnfd, shape_after(vnfd, shape, wanted), wanted)

    def scale_to_level(self, vnf_instance_id: UUID, wanted: ScaleVnfToLevelRequest) -> UUID:
        """Raises as `scale`."""
        instance = self._allowed(vnf_instance_id, "scale_to_level")
        vnfd, shape = self._packages.vnfd_of(instance.row), instance.shape
        assert shape is not None, "it can be scaled"
        scaled = shape_wanted(vnfd, shape, wanted)
        return self._scale(instance, "SCALE_TO_LEVEL", vnfd, scaled, wanted)

    # --- inside

    def _scale(
        self,
        instance: Instance,
        kind: Literal["SCALE", "SCALE_TO_LEVEL"],
        vnfd: Vnfd,
        shape: Shape,
        wanted: ScaleVnfRequest | ScaleVnfToLevelRequest,
    ) -> UUID:
        _check_names(wanted.additional_params, _SCALING)
        shape.check_many(instance.members)
        requests = self._requests(
            instance, vnfd, shape, shape.missing(instance.members), wanted.additional_params
        )
        told = wanted.json_document()
        return _told(self._members.scale(instance, kind, shape, requests, told), instance)

    def _first_shape(
        self, instance: Instance, wanted: InstantiateVnfRequest
    ) -> tuple[Vnfd, InstantiationLevel, Shape]:
        vnfd = self._packages.vnfd_of(instance.row)
        if wanted.flavour_id != vnfd.flavour_id:
            raise MalformedRequestError(
                f"flavourId: the VNFD has no flavour {wanted.flavour_id}.",
                next_step=f"Use {vnfd.flavour_id}.",
            )
        level = vnfd.level(wanted.instantiation_level_id)
        if level is None:
            known = ", ".join(each.level_id for each in vnfd.levels) or "default"
            raise MalformedRequestError(
                "instantiationLevelId: the VNFD has no level "
                f"{wanted.instantiation_level_id or vnfd.default_level}.",
                next_step=f"Use {known}.",
            )
        params = wanted.additional_params
        _check_names(params, (set(DeploymentRequest.model_fields) - _NOT_IN_PARAMS) | _PLACEMENT)
        placement = placement_of(params, vnfd)
        others = {name: value for name, value in params.items() if name not in _PLACEMENT}
        return vnfd, level, first_shape(vnfd, level, placement, others)

    def _requests(
        self,
        instance: Instance,
        vnfd: Vnfd,
        shape: Shape,
        slots: list[Slot],
        params: dict[str, Any] | None = None,
    ) -> list[tuple[Slot, DeploymentRequest]]:
        """What each member is deployed by. `params` go before those of the instantiation."""
        row = instance.row
        images = self._packages.images_of(row, vnfd)
        known = {
            "name": row.name if _SERVICE_NAME.fullmatch(row.name) else None,
            "project": self._records.project_of(row.vnf_instance_id),
        }
        return [
            (
                slot,
                _read(
                    DeploymentRequest,
                    {
                        **_sizes(vnfd.vdu(slot.vdu_id)),
                        **shape.request,
                        **(params or {}),
                        **known,
                        "data_centre": slot.data_centre,
                        "image": images[slot.vdu_id].hex(),
                    },
                ),
            )
            for slot in slots
        ]

    def _allowed(self, vnf_instance_id: UUID, task: str) -> Instance:
        instance = self._instances.get(vnf_instance_id)
        check_allowed(instance, task)
        return instance


def _is_one(vnfd: Vnfd, shape: Shape) -> bool:
    """It is one deployment, and never more."""
    return len(vnfd.vdus) == 1 and not vnfd.aspects and len(shape.slots()) == 1


def _sizes(vdu: Vdu) -> dict[str, Any]:
    sized = {"memory_mib": vdu.memory_mib, "cpus": vdu.cpus}
    return {name: value for name, value in sized.items() if value is not None}


def _takes_s(members: list[tuple[int, PlanView]]) -> float | None:
    """Until all run: members of one data centre share its fibre, data centres go side by side."""
    longest_s = 0.0
    for data_centre in {plan.data_centre for _, plan in members}:
        transfers_s, waits_s, steps_s = 0.0, 0.0, 0.0
        for count, plan in members:
            if plan.data_centre != data_centre:
                continue
            if plan.transfer_s is None or plan.steps_s is None or plan.keys_expected_in_s is None:
                return None
            transfers_s += count * plan.transfer_s
            waits_s = max(waits_s, plan.keys_expected_in_s)
            steps_s = max(steps_s, plan.steps_s)
        longest_s = max(longest_s, waits_s + transfers_s + steps_s)
    return longest_s


def _told(occurrence_id: UUID, instance: Instance) -> UUID:
    """The occurrence, after the audit was told what the request is about."""
    name_subjects(vnf_instance=instance.row.vnf_instance_id, operation=occurrence_id)
    return occurrence_id


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
            next_step=f"It may have: {', '.join(sorted(known)) or 'nothing'}.",
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
