"""What the stack needs of a virtual infrastructure manager (VIM).

A driver is an entry point `nfv_stack.vim` named like it: a function of the settings' options that
answers a `Vim`. Every driver passes `tests/contract/nfv_stack/test_vim_contract.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from nfv_stack.contract.schemas import ImageFormat, InstanceState


@dataclass(frozen=True)
class VimDescription:
    driver: str
    version: str
    image_formats: frozenset[ImageFormat]
    emulated: bool
    look_every_s: float = 0.05
    """How often it may be asked how an instance is while that starts."""


@dataclass(frozen=True)
class VimCapacity:
    """What the infrastructure has and what is taken of it; None where it does not say."""

    instances: int
    """That it holds now, others' too where it tells them."""
    instances_limit: int | None = None
    cpus: float | None = None
    cpus_used: float | None = None
    memory_mib: int | None = None
    memory_used_mib: int | None = None


@dataclass(frozen=True)
class ImageSpec:
    """An image on its way: what the VIM must come to by itself once it has all bytes."""

    digest: bytes
    """BLAKE3 of the archive, 32 bytes: our name for the image."""
    size: int
    format: ImageFormat
    vim_image_id: str
    """Id that the VIM must compute from the content, for example `sha256:...` of a config."""
    found_here: bool = False
    """The VIM held this image before it was announced: not ours, unless it has left meanwhile."""


@dataclass(frozen=True)
class InstanceSpec:
    instance_id: UUID
    name: str
    placed_image_id: str
    image_digest: bytes
    memory_mib: int
    cpus: float


@dataclass(frozen=True)
class ServiceEndPoint:
    port: int
    host: str
    host_port: int


@dataclass(frozen=True)
class VimInstance:
    """An instance as the VIM says it is now."""

    vim_instance_id: str
    state: InstanceState
    healthy: bool
    end_points: tuple[ServiceEndPoint, ...] = ()
    started_at: datetime | None = None
    detail: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VimUsage:
    """What a running instance takes now; None where the infrastructure does not say."""

    cpu_time_s: float | None = None
    """Processor time since it started."""
    memory_bytes: int | None = None


class Vim(Protocol):
    """One infrastructure. All methods may be repeated after a crash of the caller."""

    def describe(self) -> VimDescription:
        """Name and version. Raises VimUnreachableError."""
        ...

    def capacity(self) -> VimCapacity:
        """What it has and what is taken, as it says now. Raises VimUnreachableError."""
        ...

    def has_image(self, vim_image_id: str) -> bool:
        """Whether the VIM holds this image, whoever brought it."""
        ...

    def place_image(self, spec: ImageSpec, chunks: Iterator[memoryview]) -> str:
        """Stream an image in; returns the id under which it is held, owned by this data centre.

        The driver pulls from `chunks` to their end; a view is valid until the next one is pulled.
        If `chunks` raises (its seal failed), so does this, and the VIM keeps nothing of it, nor
        moves a name that somebody else gave. Raises ImageRejectedError if the VIM finds another id
        than `spec.vim_image_id`, ImageVanishedError if somebody removed the image at that moment.
        """
        ...

    def remove_image(self, vim_image_id: str, *, found_here: bool = False) -> None:
        """Give up our mark, and the image with it if nobody else has one. Absent is fine.

        An image without any mark goes as well (a crash may have come between loading and marking),
        unless it was `found_here`.
        """
        ...

    def start_instance(self, spec: InstanceSpec) -> VimInstance:
        """Create and start; a stopped one is started again, one that runs is answered.

        Does not wait until it is healthy. Raises VimRefusedError with the VIM's reason.
        """
        ...

    def stop_instance(self, instance_id: UUID) -> VimInstance:
        """Stop it and keep it, with what it has written; `start_instance` lets it go on.

        Waits until it has stopped; one that is stopped is answered. Raises UnknownInstanceError if
        the VIM has none, VimRefusedError if it does not stop.
        """
        ...

    def instance(self, instance_id: UUID) -> VimInstance | None:
        """The instance as it is now, None if the VIM has none of that id."""
        ...

    def instances(self) -> dict[UUID, VimInstance]:
        """All instances of this data centre."""
        ...

    def remove_instance(self, instance_id: UUID) -> None:
        """Stop and remove. Absent is fine."""
        ...

    def usage(self, instance_id: UUID) -> VimUsage:
        """What it takes now. Answers quickly; one that does not run takes nothing."""
        ...

    def log(self, instance_id: UUID, *, tail_lines: int = 200) -> str:
        """The last lines of its console or log."""
        ...

    def close(self) -> None: ...
