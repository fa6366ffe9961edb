"""Each image of the catalogue is a VNF package, whose VNFD has one VDU: the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid5

import yaml

from nfv_stack.contract.schemas import ImageFormat
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.sol003.documents import (
    Checksum,
    Link,
    SoftwareImage,
    VnfPackageLinks,
    VnfPkgInfo,
)
from orchestrator.sol003.errors import UnknownVnfdError, UnknownVnfPackageError
from orchestrator.store.tables import ImageRow

_NAMES = UUID("0c8a7bb2-8f0e-5a3c-9f4e-6a0b8d5b6f51")
"""Ids of packages and VNFDs are names in it: the same content has the same ids everywhere."""
PROVIDER = "qnfv"
VNFD_VERSION = "1.0"
VDU = "vdu-1"
FLAVOUR = "default"
_DISK = {ImageFormat.RAW: "RAW", ImageFormat.QCOW2: "QCOW2"}
_MIB = 1024**2
_MIN_RAM_MIB = 16


def package_id(digest: bytes) -> UUID:
    return uuid5(_NAMES, f"package:{digest.hex()}")


def vnfd_id(digest: bytes) -> UUID:
    return uuid5(_NAMES, f"vnfd:{digest.hex()}")


def software_version(digest: bytes) -> str:
    return digest.hex()[:12]


class VnfPackages:
    """Thread-safe; reads the catalogue, of which who asks sees what is his."""

    def __init__(self, catalogue: Catalogue, users: Callable[[bytes], int]) -> None:
        """`users`: how many deployments need an image."""
        self._catalogue = catalogue
        self._users = users

    def image_of_vnfd(self, vnfd: UUID) -> ImageRow:
        """Raises UnknownVnfdError."""
        for row in self._catalogue.all():
            if vnfd_id(row.digest) == vnfd:
                return row
        raise UnknownVnfdError(
            f"No VNF package has a VNFD {vnfd}.",
            next_step="List the packages (GET /vnfpkgm/v1/vnf_packages): each names its vnfdId.",
        )

    def image(self, package: UUID) -> ImageRow:
        """Raises UnknownVnfPackageError."""
        for row in self._catalogue.all():
            if package_id(row.digest) == package:
                return row
        raise UnknownVnfPackageError(
            f"There is no VNF package {package}.",
            next_step="List the packages: GET /vnfpkgm/v1/vnf_packages.",
        )

    def product_names(self) -> dict[bytes, str]:
        """What each image is called, by its digest."""
        return {row.digest: row.name for row in self._catalogue.all()}

    def document(self, package: UUID, root: str) -> VnfPkgInfo:
        return self._document(self.image(package), root)

    def documents(self, root: str) -> list[VnfPkgInfo]:
        """Newest first. `root` begins every link."""
        return [self._document(row, root) for row in self._catalogue.all()]

    def vnfd(self, package: UUID) -> str:
        """The VNFD as YAML, of the types of ETSI GS NFV-SOL 001."""
        row = self.image(package)
        return yaml.safe_dump(_vnfd(row), sort_keys=False)

    def _document(self, row: ImageRow, root: str) -> VnfPkgInfo:
        here = f"{root}/vnfpkgm/v1/vnf_packages/{package_id(row.digest)}"
        checksum = Checksum(algorithm="BLAKE3", hash=row.digest.hex())
        return VnfPkgInfo(
            id=package_id(row.digest),
            vnfd_id=vnfd_id(row.digest),
            vnf_provider=PROVIDER,
            vnf_product_name=row.name,
            vnf_software_version=software_version(row.digest),
            vnfd_version=VNFD_VERSION,
            checksum=checksum,
            software_images=[
                SoftwareImage.model_validate(
                    {
                        "id": VDU,
                        "name": row.name,
                        "provider": PROVIDER,
                        "version": software_version(row.digest),
                        "checksum": checksum,
                        "container_format": "BARE" if row.format in _DISK else "DOCKER",
                        "disk_format": _DISK.get(ImageFormat(row.format)),
                        "created_at": row.added_at,
                        "min_disk": row.size,
                        "min_ram": _MIN_RAM_MIB * _MIB,
                        "size": row.size,
                        "image_path": row.digest.hex(),
                    }
                )
            ],
            usage_state="IN_USE" if self._users(row.digest) else "NOT_IN_USE",
            links=VnfPackageLinks(self=Link(href=here), vnfd=Link(href=f"{here}/vnfd")),
        )


def _vnfd(row: ImageRow) -> dict[str, Any]:
    return {
        "tosca_definitions_version": "tosca_simple_yaml_1_2",
        "imports": ["etsi_nfv_sol001_vnfd_types.yaml"],
        "topology_template": {
            "node_templates": {
                "vnf": {
                    "type": "tosca.nodes.nfv.VNF",
                    "properties": {
                        "descriptor_id": str(vnfd_id(row.digest)),
                        "descriptor_version": VNFD_VERSION,
                        "provider": PROVIDER,
                        "product_name": row.name,
                        "software_version": software_version(row.digest),
                        "flavour_id": FLAVOUR,
                        "flavour_description": "one VDU",
                        "vnfm_info": [PROVIDER],
                    },
                },
                VDU: {
                    "type": "tosca.nodes.nfv.Vdu.Compute",
                    "properties": {
                        "name": row.name,
                        "description": f"image {row.digest.hex()}",
                        "vdu_profile": {
                            "min_number_of_instances": 1,
                            "max_number_of_instances": 1,
                        },
                    },
                },
            }
        },
    }
