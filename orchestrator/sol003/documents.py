"""Documents of SOL003 v2.6.1, in the attributes that we have; the standard has their meaning."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

KEY_VALUES_BYTES = 16_384
KeyValuePairs = dict[str, Any]


def storable(pairs: KeyValuePairs | None) -> KeyValuePairs | None:
    """Refuses what no document could answer: NaN, half a character, depths without end."""
    try:
        size = len(json.dumps(pairs, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, RecursionError) as error:
        raise ValueError("holds something that JSON has no form for") from error
    if size > KEY_VALUES_BYTES:
        raise ValueError(f"has {size} bytes; at most {KEY_VALUES_BYTES} are kept")
    return pairs


StoredPairs = Annotated[KeyValuePairs | None, AfterValidator(storable)]


def storable_params(pairs: KeyValuePairs) -> KeyValuePairs:
    return storable(pairs) or {}


StoredParams = Annotated[KeyValuePairs, AfterValidator(storable_params)]


class Document(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    def json_document(self) -> dict[str, Any]:
        """As it goes over the wire: attributes without a value are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Link(Document):
    href: str


# --- requests


class CreateVnfRequest(Document):
    vnfd_id: UUID
    vnf_instance_name: str | None = Field(default=None, max_length=255)
    vnf_instance_description: str | None = Field(default=None, max_length=1024)
    metadata: StoredPairs = None


class InstantiateVnfRequest(Document):
    flavour_id: str = Field(min_length=1, max_length=255)
    instantiation_level_id: str | None = Field(default=None, min_length=1, max_length=255)
    additional_params: StoredParams = Field(default_factory=dict)


class MemberPlan(Document):
    """What one part of a VNF would take; `plan` is the document of `/api/v1/deployments/plan`."""

    vdu_id: str
    instances: int
    """So many of this VDU in the data centre of the plan, each as it says."""
    plan: KeyValuePairs


class InstantiationPlan(Document):
    """The answer to a dry run; not of the standard."""

    vnf_instance_id: UUID
    flavour_id: str
    instantiation_level_id: str
    members: list[MemberPlan]
    key_bits: dict[str, int]
    """Of all members, by data centre."""
    takes_s: float | None = None
    """From now until all of them run; none where that is not known of one."""


class TerminateVnfRequest(Document):
    termination_type: Literal["FORCEFUL", "GRACEFUL"]
    graceful_termination_timeout: int | None = Field(default=None, ge=0)


class OperateVnfRequest(Document):
    change_state_to: Literal["STARTED", "STOPPED"]


class HealVnfRequest(Document):
    cause: str | None = Field(default=None, max_length=1024)
    additional_params: KeyValuePairs = Field(default_factory=dict)


class ScaleVnfRequest(Document):
    type: Literal["SCALE_OUT", "SCALE_IN"]
    aspect_id: str = Field(min_length=1, max_length=255)
    number_of_steps: int = Field(default=1, ge=1, le=64)
    additional_params: StoredParams = Field(default_factory=dict)


class ScaleInfo(Document):
    """As an attribute of a VNF instance, what its scaling aspect is at."""

    aspect_id: str = Field(min_length=1, max_length=255)
    scale_level: int = Field(ge=0, le=64)


class ScaleVnfToLevelRequest(Document):
    instantiation_level_id: str | None = Field(default=None, min_length=1, max_length=255)
    scale_info: list[ScaleInfo] | None = Field(default=None, min_length=1, max_length=16)
    additional_params: StoredParams = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if (self.instantiation_level_id is None) == (self.scale_info is None):
            raise ValueError("say one of instantiationLevelId and scaleInfo")
        named = [each.aspect_id for each in self.scale_info or ()]
        if len(set(named)) < len(named):
            raise ValueError("scaleInfo names an aspect twice")
        return self


class VnfInfoModificationRequest(Document):
    """A merge patch: null takes an attribute away."""

    vnf_instance_name: str | None = Field(default=None, max_length=255)
    vnf_instance_description: str | None = Field(default=None, max_length=1024)
    metadata: StoredPairs = None


class CancelMode(Document):
    cancel_mode: Literal["GRACEFUL", "FORCEFUL"]


class CreateVnfPkgInfoRequest(Document):
    user_defined_data: StoredPairs = None


class VnfPkgInfoModifications(Document):
    """A merge patch; as an answer it has what was changed."""

    operational_state: Literal["ENABLED", "DISABLED"] | None = None
    user_defined_data: StoredPairs = None


# --- VNF instances


class ResourceHandle(Document):
    vim_connection_id: str
    resource_id: str


class VnfcResourceInfo(Document):
    id: str
    vdu_id: str
    compute_resource: ResourceHandle
    metadata: KeyValuePairs


class InstantiatedVnfInfo(Document):
    flavour_id: str
    vnf_state: Literal["STARTED", "STOPPED"]
    scale_status: list[ScaleInfo] | None = None
    vnfc_resource_info: list[VnfcResourceInfo] | None = None


class VimConnectionInfo(Document):
    id: str
    vim_type: str


class VnfInstanceLinks(Document):
    self: Link
    instantiate: Link | None = None
    terminate: Link | None = None
    operate: Link | None = None
    heal: Link | None = None
    scale: Link | None = None
    scale_to_level: Link | None = None


class VnfInstance(Document):
    id: UUID
    vnf_instance_name: str | None = None
    vnf_instance_description: str | None = None
    vnfd_id: UUID
    vnf_provider: str
    vnf_product_name: str
    vnf_software_version: str
    vnfd_version: str
    vim_connection_info: list[VimConnectionInfo] | None = None
    instantiation_state: Literal["NOT_INSTANTIATED", "INSTANTIATED"]
    instantiated_vnf_info: InstantiatedVnfInfo | None = None
    metadata: KeyValuePairs | None = None
    extensions: KeyValuePairs | None = None
    links: VnfInstanceLinks = Field(alias="_links")


# --- LCM operation occurrences


ChangeType = Literal["ADDED", "REMOVED", "MODIFIED"]


class AffectedVnfc(Document):
    id: str
    vdu_id: str
    change_type: ChangeType
    compute_resource: ResourceHandle


class ResourceChanges(Document):
    affected_vnfcs: list[AffectedVnfc]


class OccurrenceLinks(Document):
    self: Link
    vnf_instance: Link
    cancel: Link | None = None
    retry: Link | None = None
    rollback: Link | None = None
    fail: Link | None = None


class MemberOperation(Document):
    """The operation of one member, under its occurrence; not of the standard."""

    vdu_id: str
    number: int
    data_centre: str
    deployment_id: UUID
    change_type: ChangeType
    operation_id: UUID | None = None
    """None, as its state and steps, of a removal that begins once all others are there."""
    operation_state: str | None = None
    """As in `/api/v1`, the ways to wait too."""
    steps: dict[str, str] | None = None
    """Names and states, in their order."""
    error: KeyValuePairs | None = None


class VnfLcmOpOcc(Document):
    id: UUID
    operation_state: Literal[
        "STARTING",
        "PROCESSING",
        "COMPLETED",
        "FAILED_TEMP",
        "FAILED",
        "ROLLING_BACK",
        "ROLLED_BACK",
    ]
    state_entered_time: datetime
    start_time: datetime
    vnf_instance_id: UUID
    operation: Literal[
        "INSTANTIATE", "TERMINATE", "OPERATE", "HEAL", "SCALE", "SCALE_TO_LEVEL", "MODIFY_INFO"
    ]
    is_automatic_invocation: bool = False
    operation_params: KeyValuePairs | None = None
    is_cancel_pending: bool
    cancel_mode: Literal["GRACEFUL", "FORCEFUL"] | None = None
    error: KeyValuePairs | None = None
    resource_changes: ResourceChanges | None = None
    changed_info: KeyValuePairs | None = None
    members: list[MemberOperation] | None = None
    links: OccurrenceLinks = Field(alias="_links")


# --- VNF packages


class Checksum(Document):
    algorithm: str
    hash: str


class SoftwareImage(Document):
    id: str
    name: str
    provider: str
    version: str
    checksum: Checksum
    container_format: Literal["BARE", "DOCKER"]
    disk_format: Literal["RAW", "QCOW2"] | None = None
    created_at: datetime
    min_disk: int
    min_ram: int
    size: int
    image_path: str


class VnfPackageArtifact(Document):
    artifact_path: str
    checksum: Checksum


class VnfPackageLinks(Document):
    self: Link
    vnfd: Link | None = None
    package_content: Link


class VnfPkgInfo(Document):
    id: UUID
    vnfd_id: UUID | None = None
    vnf_provider: str | None = None
    vnf_product_name: str | None = None
    vnf_software_version: str | None = None
    vnfd_version: str | None = None
    checksum: Checksum | None = None
    software_images: list[SoftwareImage] | None = None
    additional_artifacts: list[VnfPackageArtifact] | None = None
    onboarding_state: Literal["CREATED", "UPLOADING", "PROCESSING", "ONBOARDED"]
    operational_state: Literal["ENABLED", "DISABLED"]
    usage_state: Literal["IN_USE", "NOT_IN_USE"]
    user_defined_data: KeyValuePairs | None = None
    onboarding_failure_details: KeyValuePairs | None = None
    links: VnfPackageLinks = Field(alias="_links")
