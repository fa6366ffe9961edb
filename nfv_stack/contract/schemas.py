"""Documents of the gateway's REST interface, `/v1`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from key_management.contract import Document, HexDigest

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
LinkName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
HexNonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ImageFormat(StrEnum):
    DOCKER_ARCHIVE = "docker-archive"
    QCOW2 = "qcow2"
    RAW = "raw"


class KeySourceClass(StrEnum):
    QUANTUM = "quantum"
    EMULATED = "emulated"


class TransferState(StrEnum):
    ANNOUNCED = "ANNOUNCED"
    RECEIVING = "RECEIVING"
    PLACED = "PLACED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


TRANSFER_MEANING: dict[TransferState, str] = {
    TransferState.ANNOUNCED: "the key is reserved; no byte has come",
    TransferState.RECEIVING: "a stream was begun; the VIM holds nothing usable",
    TransferState.PLACED: "the whole image was verified and the VIM holds it; the receipt is ready",
    TransferState.ACKNOWLEDGED: "the orchestrator has all it needs; the key is erased",
    TransferState.FAILED: "it cannot go on; the key is burned and the VIM keeps nothing of it",
    TransferState.CANCELLED: "given up by the orchestrator; nothing of it is left",
}


class ImageAnnouncement(Document):
    """Step *announce*: what will come, under which key. Never the key itself."""

    link: LinkName
    key_id: UUID
    key_source: KeySourceClass
    sender: Name
    suite: str = "aes-256-gcm"
    chunk_log2: int = Field(default=20, ge=10, le=24)
    image_digest: HexDigest
    """BLAKE3 of the whole image; with a one-time pad the pad's commitment instead."""
    image_size: int = Field(ge=0)
    """Bytes of the image; with a one-time pad, of what travels under it."""
    image_format: ImageFormat
    vim_image_id: str = Field(max_length=128)
    """The id that the VIM must come to by itself, for example the digest of a Docker config. Empty
    with a one-time pad: it travels under the pad."""
    pad_blocks: list[UUID] = Field(default_factory=list, max_length=65_536)
    """Only with a one-time pad: its blocks in the order of their ids; `key_id` is the first."""


class Cancellation(Document):
    """The keys that the sender gave up with a transfer. They are burned here too where nobody else
    was promised them, so that none outlives its other half when the announcement never came."""

    link: LinkName
    key_ids: list[UUID] = Field(max_length=65_536)


class TransferView(Document):
    transfer_id: UUID
    state: TransferState
    received_bytes: int
    being_received: bool = False
    """A connection is open, or the VIM has not said its last word about the bytes yet."""
    attempts: int
    placed_image_id: str | None = None
    error: str | None = None
    """Why it failed, and what to do next."""


class Ticket(Document):
    """Leave for one attempt: where to connect, which number and nonce to use, where to start."""

    attempt: int = Field(ge=1)
    start_chunk: int = Field(ge=0)
    receiver_nonce: HexNonce
    intake_host: str
    intake_port: int = Field(ge=1, le=65535)


class Notice(Document):
    """Step *notify*, as in the paper: the image id and the key id, after the stream."""

    image_digest: HexDigest
    key_id: UUID


class ReceiptView(Document):
    """The receipt in its exact encoding (image_transfer/FORMAT.md, section 9), in hex."""

    receipt: str
    attempt: int


class InstanceState(StrEnum):
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    MISSING = "MISSING"


class InstanceRequest(Document):
    """Step *boot*: run an image that a transfer brought here."""

    transfer_id: UUID
    name: Name
    memory_mib: int = Field(default=256, ge=16, le=65536)
    cpus: float = Field(default=1.0, gt=0, le=64)
    boot_timeout_s: float = Field(default=60.0, gt=0, le=3600)


class EndPointView(Document):
    """Where a service of the instance can be reached from the VIM's host."""

    port: int
    """Port inside the instance."""
    host: str
    host_port: int


class StartRequest(Document):
    """Start an instance that was stopped, or make it anew from the image that is here."""

    boot_timeout_s: float = Field(default=60.0, gt=0, le=3600)


class UsageView(Document):
    """What an instance takes now, as the VIM says; null where it does not say."""

    cpu_time_s: float | None = None
    """Processor time since it started."""
    memory_bytes: int | None = None


class InstanceView(Document):
    instance_id: UUID
    name: str
    state: InstanceState
    """As the VIM says now."""
    healthy: bool
    vim: str
    vim_instance_id: str | None = None
    image_digest: HexDigest
    placed_image_id: str
    end_points: list[EndPointView] = Field(default_factory=list)
    started_at: datetime | None = None
    detail: str = ""
    usage: UsageView | None = None
    image_held: bool | None = None
    """Whether the VIM still holds its image; null in a list."""


class InstanceList(Document):
    instances: list[InstanceView]


class LogView(Document):
    text: str


class VimView(Document):
    """The infrastructure below this stack."""

    driver: str
    version: str
    image_formats: list[ImageFormat]
    emulated: bool


class CapacityView(Document):
    """What the infrastructure has and what is taken of it, as it says now; null where it does not
    say."""

    instances: int
    instances_limit: int | None = None
    cpus: float | None = None
    cpus_used: float | None = None
    memory_mib: int | None = None
    memory_used_mib: int | None = None


class DataCentreView(Document):
    name: Name
    links: list[LinkName]
    vim: VimView


class PoolView(Document):
    """How many keys of a link are in each state."""

    link: LinkName
    counts: dict[str, int]


class UnitStart(Document):
    """Bob's program is told the line's loss; an Alice's is told her Bob's address, if given."""

    turn_id: UUID
    fencing: int = Field(ge=0)
    line_attenuation_db: float = Field(ge=0, le=60)


class UnitStop(Document):
    turn_id: UUID
    fencing: int = Field(ge=0)
