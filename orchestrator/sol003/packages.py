"""VNF packages: those that were uploaded, and each other image of the catalogue as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID, uuid5

from nfv_stack.contract.schemas import ImageFormat
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.sol003.documents import (
    Checksum,
    Link,
    SoftwareImage,
    VnfPackageArtifact,
    VnfPackageLinks,
    VnfPkgInfo,
)
from orchestrator.sol003.errors import (
    UnknownVnfdError,
    UnknownVnfPackageError,
    VnfPackageStateError,
)
from orchestrator.sol003.onboarding.image_vnfd import NAMES, vnfd_id, vnfd_of_image, vnfd_text
from orchestrator.sol003.onboarding.refusals import check_enabled, unknown_package
from orchestrator.sol003.onboarding.store import PackageStore
from orchestrator.sol003.onboarding.tables import PackageImageRow, VnfPackageRow
from orchestrator.sol003.onboarding.vnfd import Vdu, Vnfd
from orchestrator.sol003.tables import VnfInstanceRow
from orchestrator.store.tables import ImageRow

_DISK = {ImageFormat.RAW: "RAW", ImageFormat.QCOW2: "QCOW2"}
_MIB = 1024**2
_MIN_RAM_MIB = 16


def image_package_id(digest: bytes) -> UUID:
    """Of an image that is a package by itself."""
    return uuid5(NAMES, f"package:{digest.hex()}")


@dataclass(frozen=True)
class Deployable:
    """What a VNF instance can be made of."""

    image_digest: bytes
    """Of its first VDU."""
    package_id: UUID | None
    """None where it is an image of the catalogue by itself."""


class Vnfds:
    """The VNFD of every VNF instance, as things stood when it was made."""

    def __init__(self, images: dict[bytes, str], packages: dict[UUID, VnfPackageRow]) -> None:
        self._images = images
        self._packages = packages

    def of(self, image_digest: bytes, package_id: UUID | None) -> Vnfd:
        package = self._packages.get(package_id) if package_id is not None else None
        if package is not None and package.vnfd is not None:
            return Vnfd.from_stored(package.vnfd)
        name = self._images.get(image_digest, image_digest.hex())
        return vnfd_of_image(vnfd_id(image_digest), image_digest, name)


class VnfPackages:
    """Thread-safe; reads only. Who asks sees what is his."""

    def __init__(
        self,
        catalogue: Catalogue,
        store: PackageStore,
        deployments: Callable[[Iterable[bytes]], dict[bytes, int]],
    ) -> None:
        """`deployments`: how many need each image."""
        self._catalogue = catalogue
        self._store = store
        self._deployments = deployments

    def deployable(self, vnfd: UUID, project: str | None) -> Deployable:
        """What of the project has this VNFD. Raises UnknownVnfdError, VnfPackageStateError,
        UnknownProjectError or ProjectChoiceError."""
        project = self._catalogue.chosen_project(project)
        package = self._store.of_vnfd(vnfd, project)
        if package is not None and package.vnfd is not None:
            check_enabled(package)
            first = Vnfd.from_stored(package.vnfd).vdus[0].vdu_id
            image = self._store.images([package.package_id])[package.package_id][first]
            return Deployable(image.image_digest, package.package_id)
        for digest in self._store.images_of(project):
            if vnfd_id(digest) == vnfd:
                return Deployable(digest, None)
        raise UnknownVnfdError(
            f"No VNF package of the project {project} has a VNFD {vnfd}.",
            next_step="List the packages (GET /vnfpkgm/v1/vnf_packages): each names its vnfdId.",
        )

    def vnfds(self) -> Vnfds:
        images = {row.digest: row.name for row in self._catalogue.all()}
        return Vnfds(images, self._store.every())

    def vnfd_of(self, instance: VnfInstanceRow) -> Vnfd:
        """Raises VnfPackageStateError where its package is disabled."""
        packages: dict[UUID, VnfPackageRow] = {}
        if instance.package_id is not None:
            packages = self._store.every([instance.package_id])
            for package in packages.values():
                check_enabled(package)
        image = self._catalogue.find(instance.image_digest)
        names = {} if image is None else {image.digest: image.name}
        return Vnfds(names, packages).of(instance.image_digest, instance.package_id)

    def images_of(self, instance: VnfInstanceRow, vnfd: Vnfd) -> dict[str, bytes]:
        """By VDU the digest of its image."""
        if instance.package_id is None:
            return {vdu.vdu_id: instance.image_digest for vdu in vnfd.vdus}
        found = self._store.images([instance.package_id]).get(instance.package_id, {})
        return {vdu_id: row.image_digest for vdu_id, row in found.items()}

    # --- documents

    def document(self, package_id: UUID, root: str) -> VnfPkgInfo:
        """Raises UnknownVnfPackageError."""
        image = self.image_alone(package_id)
        if image is not None:
            return self._of_image(image, self._deployments([image.digest])[image.digest], root)
        row = self._store.get(package_id)
        images = {each.digest: each for each in self._catalogue.all()}
        its = self._store.images([package_id]).get(package_id, {})
        return self._of_package(row, its, images, self._store.users(package_id), root)

    def documents(self, root: str) -> list[VnfPkgInfo]:
        """Newest first. `root` begins every link."""
        rows = self._store.all()
        images = {row.digest: row for row in self._catalogue.all()}
        its = self._store.images(row.package_id for row in rows)
        brought = _brought(its)
        instances = self._store.instances_of(row.package_id for row in rows)
        dated = [
            (
                row.created_at,
                self._of_package(
                    row,
                    its.get(row.package_id, {}),
                    images,
                    len(instances[row.package_id]),
                    root,
                ),
            )
            for row in rows
        ]
        alone = [image for image in images.values() if image.digest not in brought]
        deployments = self._deployments(image.digest for image in alone)
        dated += [
            (image.added_at, self._of_image(image, deployments[image.digest], root))
            for image in alone
        ]
        dated.sort(key=lambda each: (each[0], each[1].id.bytes), reverse=True)
        return [document for _, document in dated]

    def image_alone(self, package_id: UUID) -> ImageRow | None:
        """The image of the catalogue that is this package, if it is one."""
        for row in self._catalogue.all():
            if image_package_id(row.digest) == package_id:
                its = self._store.images(each.package_id for each in self._store.all())
                return None if row.digest in _brought(its) else row
        return None

    def uploaded(self, package_id: UUID) -> VnfPackageRow:
        """Raises UnknownVnfPackageError, or VnfPackageStateError for an image of the catalogue."""
        try:
            return self._store.get(package_id)
        except UnknownVnfPackageError:
            image = self.image_alone(package_id)
            if image is None:
                raise
            raise VnfPackageStateError(
                f"VNF package {package_id} is the image {image.name} of the catalogue, which was "
                "not uploaded as a package.",
                next_step="Images are taken out with `qnfv image delete`.",
                state="ONBOARDED",
            ) from None

    def image_of(self, row: VnfPackageRow) -> ImageRow:
        """The image of a package of one VDU. Raises UnknownVnfPackageError."""
        for each in self._store.images([row.package_id]).get(row.package_id, {}).values():
            image = self._catalogue.find(each.image_digest)
            if image is not None:
                return image
        raise unknown_package(row.package_id)

    def image_vnfd(self, image: ImageRow) -> str:
        """The VNFD that is made for an image by itself."""
        made = vnfd_of_image(vnfd_id(image.digest), image.digest, image.name)
        return vnfd_text(made, image)

    # --- inside

    def _of_image(self, image: ImageRow, users: int, root: str) -> VnfPkgInfo:
        here = f"{root}/vnfpkgm/v1/vnf_packages/{image_package_id(image.digest)}"
        vnfd = vnfd_of_image(vnfd_id(image.digest), image.digest, image.name)
        return VnfPkgInfo(
            id=image_package_id(image.digest),
            **_named(vnfd),
            checksum=_blake3(image),
            software_images=[
                _software_image(vnfd.vdus[0], vnfd.provider, image, vnfd.vdus[0].image_id)
            ],
            onboarding_state="ONBOARDED",
            operational_state="ENABLED",
            usage_state="IN_USE" if users else "NOT_IN_USE",
            links=_links(here, has_vnfd=True),
        )

    def _of_package(
        self,
        row: VnfPackageRow,
        its: dict[str, PackageImageRow],
        images: dict[bytes, ImageRow],
        users: int,
        root: str,
    ) -> VnfPkgInfo:
        here = f"{root}/vnfpkgm/v1/vnf_packages/{row.package_id}"
        vnfd = Vnfd.from_stored(row.vnfd) if row.vnfd is not None else None
        software = [
            _software_image(
                vdu,
                vnfd.provider,
                images[its[vdu.vdu_id].image_digest],
                f"{vdu.vdu_id}-{vdu.image_id}" if vnfd.vdus[1:] else vdu.image_id,
            )
            for vdu in (vnfd.vdus if vnfd is not None else ())
            if vnfd is not None and vdu.vdu_id in its and its[vdu.vdu_id].image_digest in images
        ]
        sha256 = row.content_sha256.hex() if row.content_sha256 and vnfd is not None else None
        return VnfPkgInfo.model_validate(
            {
                "id": row.package_id,
                **(_named(vnfd) if vnfd is not None else {}),
                "checksum": Checksum(algorithm="SHA-256", hash=sha256) if sha256 else None,
                "software_images": software or None,
                "additional_artifacts": [
                    VnfPackageArtifact(
                        artifact_path=each["source"],
                        checksum=Checksum(algorithm=each["algorithm"], hash=each["digest"]),
                    )
                    for each in row.artifacts or []
                ]
                or None,
                "onboarding_state": row.onboarding_state,
                "operational_state": "ENABLED" if row.is_enabled else "DISABLED",
                "usage_state": "IN_USE" if users else "NOT_IN_USE",
                "user_defined_data": row.user_data or None,
                "onboarding_failure_details": row.failure,
                "links": _links(here, has_vnfd=vnfd is not None),
            }
        )


def _brought(images: dict[UUID, dict[str, PackageImageRow]]) -> set[bytes]:
    """What came by these packages."""
    rows = (row for of_package in images.values() for row in of_package.values())
    return {row.image_digest for row in rows if row.is_brought}


def _named(vnfd: Vnfd) -> dict[str, object]:
    return {
        "vnfd_id": vnfd.descriptor_id,
        "vnf_provider": vnfd.provider,
        "vnf_product_name": vnfd.product_name,
        "vnf_software_version": vnfd.software_version,
        "vnfd_version": vnfd.descriptor_version,
    }


def _links(here: str, *, has_vnfd: bool) -> VnfPackageLinks:
    return VnfPackageLinks(
        self=Link(href=here),
        vnfd=Link(href=f"{here}/vnfd") if has_vnfd else None,
        package_content=Link(href=f"{here}/package_content"),
    )


def _blake3(image: ImageRow) -> Checksum:
    return Checksum(algorithm="BLAKE3", hash=image.digest.hex())


def _software_image(vdu: Vdu, provider: str, image: ImageRow, image_id: str) -> SoftwareImage:
    return SoftwareImage.model_validate(
        {
            "id": image_id,
            "name": vdu.image_name,
            "provider": provider,
            "version": vdu.image_version,
            "checksum": _blake3(image),
            "container_format": "BARE" if image.format in _DISK else "DOCKER",
            "disk_format": _DISK.get(ImageFormat(image.format)),
            "created_at": image.added_at,
            "min_disk": image.size,
            "min_ram": (vdu.memory_mib or _MIN_RAM_MIB) * _MIB,
            "size": image.size,
            "image_path": vdu.image_file,
        }
    )
