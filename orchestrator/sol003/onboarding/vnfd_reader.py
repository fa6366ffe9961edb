"""A VNFD out of the definitions of a package."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from orchestrator.sol003.onboarding.archive import PackageArchive, refused
from orchestrator.sol003.onboarding.definitions import Definitions
from orchestrator.sol003.onboarding.scaling import read_scaling
from orchestrator.sol003.onboarding.vdus import read_vdus, short_text
from orchestrator.sol003.onboarding.vnfd import Vnfd

_VNF = "tosca.nodes.nfv.VNF"
_NAMED = ("provider", "product_name", "software_version", "descriptor_version")


def read_vnfd(archive: PackageArchive, definitions: Definitions) -> Vnfd:
    """Raises PackageRefusedError with what is missing or not supported."""
    vnf = _the_vnf(definitions, definitions.files[0])
    vdus = read_vdus(archive, definitions, vnf["software_version"])
    return Vnfd(**vnf, vdus=vdus, **read_scaling(definitions, vdus))


def _the_vnf(definitions: Definitions, entry: str) -> dict[str, Any]:
    """What the VNF's node templates say; there may be one in the entry file and one a flavour."""
    templates = definitions.of_type(_VNF)
    if not templates:
        raise refused(f"{entry} has no node template of a type that derives from {_VNF}.")
    said: dict[str, Any] = {}
    for template in templates:
        for key, value in definitions.properties(template).items():
            if key not in (*_NAMED, "descriptor_id", "flavour_id") or value in (None, ""):
                continue
            if said.setdefault(key, value) != value:
                raise refused(
                    f"{template.file}: {key} of {template.name} is {value!r}, elsewhere it is "
                    f"{said[key]!r}; packages of one VNF and one flavour are supported."
                )
    missing = [key for key in (*_NAMED, "descriptor_id", "flavour_id") if key not in said]
    if missing:
        raise refused(f"{entry}: the VNF does not say its {', '.join(missing)}.")
    try:
        descriptor_id = UUID(str(said["descriptor_id"]))
    except ValueError as error:
        raise refused(
            f"{entry}: descriptor_id {said['descriptor_id']!r} is no UUID.",
            "Give the VNFD a UUID.",
        ) from error
    texts = {key: short_text(said[key], entry, key) for key in (*_NAMED, "flavour_id")}
    return {**texts, "descriptor_id": descriptor_id}
