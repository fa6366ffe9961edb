"""The VIM port on one project of an OpenStack cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from nfv_stack.contract.schemas import ImageFormat
from nfv_stack.errors import UnknownInstanceError, VimRefusedError
from nfv_stack.vim.openstack.cloud import Cloud
from nfv_stack.vim.openstack.images import GlanceImages, UploadDeadlines
from nfv_stack.vim.openstack.journal import Journal
from nfv_stack.vim.openstack.options import OpenStackOptions
from nfv_stack.vim.openstack.servers import NovaServers
from nfv_stack.vim.port import (
    ImageSpec,
    InstanceSpec,
    VimCapacity,
    VimDescription,
    VimInstance,
    VimUsage,
)

_LOOK_EVERY_S = 0.5


class OpenStackVim:
    """One data centre in one project. Several may share a project; none sees the others' things."""

    def __init__(self, options: OpenStackOptions) -> None:
        self._emulated = options.emulated
        self._description: VimDescription | None = None
        self._cloud = Cloud(
            cloud=options.cloud, clouds_file=options.clouds_file, timeout_s=options.timeout_s
        )
        journal = Journal(options.folder)
        self._images = GlanceImages(
            self._cloud,
            journal,
            options.data_centre,
            UploadDeadlines(options.upload_answer_timeout_s, options.active_timeout_s),
        )
        self._servers = NovaServers(
            self._cloud,
            journal,
            options.data_centre,
            flavor=options.flavor,
            network=options.network,
            settle_timeout_s=options.settle_timeout_s,
        )

    def describe(self) -> VimDescription:
        if self._description is None:
            with self._cloud.speaking() as connection:
                nova = connection.compute.get_endpoint_data()
            newest = None if nova is None else nova.max_microversion or nova.api_version
            version = "unknown" if newest is None else ".".join(str(part) for part in newest)
            self._description = VimDescription(
                "openstack",
                f"compute {version}",
                frozenset({ImageFormat.RAW, ImageFormat.QCOW2}),
                emulated=self._emulated,
                look_every_s=_LOOK_EVERY_S,
            )
        return self._description

    def capacity(self) -> VimCapacity:
        return self._servers.quota()

    def has_image(self, vim_image_id: str) -> bool:
        return self._images.held(vim_image_id) is not None

    def place_image(self, spec: ImageSpec, chunks: Iterator[memoryview]) -> str:
        self._images.place(spec, chunks)
        return spec.vim_image_id

    def remove_image(self, vim_image_id: str, *, found_here: bool = False) -> None:  # noqa: ARG002
        # Only what is in our journal is looked at, and all that is ours to remove.
        self._images.remove(vim_image_id)

    def start_instance(self, spec: InstanceSpec) -> VimInstance:
        image = self._images.held(spec.placed_image_id)
        if image is None:
            raise VimRefusedError(
                f"The image {spec.placed_image_id} is not here.", next_step="Transfer it again."
            )
        return self._servers.start(spec, image)

    def stop_instance(self, instance_id: UUID) -> VimInstance:
        stopped = self._servers.stop(instance_id)
        if stopped is None:
            raise UnknownInstanceError(
                f"The cloud has no instance {instance_id}.",
                next_step="Start it again from its image.",
            )
        return stopped

    def instance(self, instance_id: UUID) -> VimInstance | None:
        return self._servers.view(instance_id)

    def instances(self) -> dict[UUID, VimInstance]:
        return self._servers.views()

    def remove_instance(self, instance_id: UUID) -> None:
        self._servers.remove(instance_id)

    def usage(self, instance_id: UUID) -> VimUsage:
        return self._servers.usage(instance_id)

    def log(self, instance_id: UUID, *, tail_lines: int = 200) -> str:
        return self._servers.console(instance_id, tail_lines)

    def close(self) -> None:
        self._cloud.close()


def open_vim(options: Mapping[str, Any]) -> OpenStackVim:
    """The driver `openstack`; its options are those of `OpenStackOptions`.

    Nothing is asked of the cloud yet. Raises pydantic's ValidationError.
    """
    return OpenStackVim(OpenStackOptions.model_validate(options))
