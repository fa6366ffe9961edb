"""The VNFD of an image that came without one: one VDU, the flavour `default`."""

from __future__ import annotations

from uuid import UUID, uuid5

import yaml

from orchestrator.sol003.onboarding.vnfd import Vdu, Vnfd
from orchestrator.store.tables import ImageRow

NAMES = UUID("0c8a7bb2-8f0e-5a3c-9f4e-6a0b8d5b6f51")
"""Ids of packages and VNFDs are names in it: the same content has the same ids everywhere."""
PROVIDER = "qnfv"
_VNFD_VERSION = "1.0"
_VDU = "vdu-1"
_FLAVOUR = "default"


def vnfd_id(digest: bytes) -> UUID:
    """Of the image that is a package by itself."""
    return uuid5(NAMES, f"vnfd:{digest.hex()}")


def uploaded_vnfd_id(package_id: UUID) -> UUID:
    """Of an image that was uploaded as a package: two such packages have two VNFDs."""
    return uuid5(NAMES, f"vnfd-of-package:{package_id}")


def vnfd_of_image(descriptor_id: UUID, digest: bytes, name: str) -> Vnfd:
    version = digest.hex()[:12]
    return Vnfd(
        descriptor_id=descriptor_id,
        provider=PROVIDER,
        product_name=name,
        software_version=version,
        descriptor_version=_VNFD_VERSION,
        flavour_id=_FLAVOUR,
        vdus=(
            Vdu(
                vdu_id=_VDU,
                image_id=_VDU,
                image_name=name,
                image_version=version,
                image_file=digest.hex(),
            ),
        ),
    )


def vnfd_text(vnfd: Vnfd, image: ImageRow) -> str:
    """As YAML, of the types of ETSI GS NFV-SOL 001."""
    document = {
        "tosca_definitions_version": "tosca_simple_yaml_1_2",
        "imports": ["etsi_nfv_sol001_vnfd_types.yaml"],
        "topology_template": {
            "node_templates": {
                "vnf": {
                    "type": "tosca.nodes.nfv.VNF",
                    "properties": {
                        "descriptor_id": str(vnfd.descriptor_id),
                        "descriptor_version": vnfd.descriptor_version,
                        "provider": vnfd.provider,
                        "product_name": vnfd.product_name,
                        "software_version": vnfd.software_version,
                        "flavour_id": vnfd.flavour_id,
                        "flavour_description": "one VDU",
                        "vnfm_info": [PROVIDER],
                    },
                },
                vnfd.vdus[0].vdu_id: {
                    "type": "tosca.nodes.nfv.Vdu.Compute",
                    "properties": {
                        "name": vnfd.vdus[0].image_name,
                        "description": f"image {image.digest.hex()}",
                        "vdu_profile": {
                            "min_number_of_instances": 1,
                            "max_number_of_instances": 1,
                        },
                    },
                },
            }
        },
    }
    return yaml.safe_dump(document, sort_keys=False)
