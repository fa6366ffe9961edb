"""Documents of `/api/v1` about deployments and operations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from orchestrator.vnf_lcm.states import OnFailure

ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DeploymentRequest(Document):
    """Deploy an image of the catalogue (by name or digest) in a data centre."""

    image: str = Field(min_length=1, max_length=128)
    data_centre: str = Field(min_length=1, max_length=64)
    project: str | None = Field(default=None, max_length=63)
    """Whose it shall be; it need not be said by who has one project."""
    name: ServiceName | None = None
    deployment_id: UUID | None = None
    """Chosen by the asker: asked again with the same one, it answers the deployment that is there.
    """
    cipher: Literal["aes-256-gcm", "one-time-pad"] = "aes-256-gcm"
    """`one-time-pad`: as many key bits as the image has; for small images alone."""
    key_mode: Literal["pooled", "on_demand"] = "pooled"
    """`pooled`: a key that both ends hold already. `on_demand`: asked from Alice now, as the paper
    does."""
    memory_mib: int = Field(default=256, ge=16, le=65536)
    cpus: float = Field(default=1.0, gt=0, le=64)
    wait_s: float = Field(default=0.0, ge=0, le=86400)
    """How long it may wait for a key and for a circuit; 0 refuses at once where there is no key."""
    on_failure: OnFailure = OnFailure.ROLLBACK
    """`rollback`: a failed step undoes all. `hold`: the operation then waits in FAILED_TEMP for
    retry, rollback or fail."""

    @model_validator(mode="after")
    def _a_pad_comes_from_the_pool(self) -> Self:
        if self.cipher == "one-time-pad" and self.key_mode == "on_demand":
            raise ValueError("a one-time pad is taken from the pool: use key_mode pooled")
        return self


class OperateRequest(Document):
    """Start or stop the instance of a deployment, as in ETSI GS NFV-SOL 003."""

    change_to: Literal["STARTED", "STOPPED"]


class HealRequest(Document):
    """Make the instance anew. Where the data centre lost the image it is sent again, under a new
    key: the rest is for that."""

    wait_s: float = Field(default=0.0, ge=0, le=86400)
    """How long it may wait for a key and for a circuit; 0 refuses at once where there is no key."""
    on_failure: OnFailure = OnFailure.ROLLBACK


class PlanView(Document):
    """What a deployment would take, without doing anything."""

    image_digest: str
    image_bytes: int
    data_centre: str
    cipher: str
    key_mode: str
    key_bits: int
    key_available: bool
    keys_expected_in_s: float | None
    """Seconds until the link's next keys, where none are there now; None if nobody can say."""
    path: list[str]
    path_km: float
    path_loss_db: float
    emulated_keys: bool
    transfer_s: float | None
    """By the median rate of the newest transfers to that data centre; None if there was none."""
    steps_s: float | None
    """All other steps, boot among them: the median of the newest deployments there."""
    measured_transfers: int
    """How many `transfer_s` is from."""
    measured_deployments: int
    """How many `steps_s` is from."""
    takes_s: float | None
    """From now to a running instance, with the wait for keys; None where a part is not known."""


class StepView(Document):
    name: str
    state: str
    runs: int
    started_at: datetime | None
    seconds: float | None
    detail: dict[str, Any]
    error: str | None


class OperationView(Document):
    operation_id: UUID
    deployment_id: UUID
    kind: str
    state: str
    on_failure: str
    tries: int
    """1, and one more for each retry."""
    cancel_requested: bool
    allowed_actions: list[str]
    """What can be asked of it now, as `POST /api/v1/operations/{operation_id}/ACTION`."""
    left_behind: list[str]
    """What of it is still there, where it failed."""
    transfer_id: UUID
    """Of its present try."""
    created_at: datetime
    ended_at: datetime | None
    wait_until: datetime | None
    bytes_sent: int
    bytes_total: int
    bytes_per_s: float | None
    steps: list[StepView]
    error: dict[str, Any] | None


class DeploymentView(Document):
    deployment_id: UUID
    name: str
    project: str
    data_centre: str
    image_digest: str
    cipher: str
    key_mode: str
    state: str
    allowed_actions: list[str]
    """What can be asked of it now: start, stop, heal, remove."""
    instance: dict[str, Any] | None
    """As the data centre answered when an operation last changed it."""
    vim_state: str | None
    """As the VIM said when it was last asked; None if it was not since the last change."""
    vim_seen_at: datetime | None
    drift: str | None
    """How what the VIM says differs from `state`; None while nothing is known against it."""
    created_at: datetime
    operation_id: UUID
    """Its newest operation."""


class ConsoleView(Document):
    deployment_id: UUID
    text: str


class TransferView(Document):
    transfer_id: UUID
    operation_id: UUID
    data_centre: str
    link: str
    key_id: UUID
    emulated_key: bool
    cipher: str
    image_digest: str
    image_bytes: int
    bytes_sent: int
    bytes_per_s: float | None
    attempts: int
    receipt_verified: bool
    created_at: datetime
