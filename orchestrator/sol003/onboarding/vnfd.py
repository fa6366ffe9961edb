"""What we use of a VNFD (ETSI GS NFV-SOL 001): one VNF, one flavour, one VDU with its image."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from orchestrator.sol003.onboarding.archive import PackageArchive, refused
from orchestrator.sol003.onboarding.definitions import (
    Definitions,
    NodeTemplate,
    mapping_at,
    resolve,
)

_VNF = "tosca.nodes.nfv.VNF"
_VDU = "tosca.nodes.nfv.Vdu.Compute"
_IMAGE = "tosca.artifacts.nfv.SwImage"
_NAMED = ("provider", "product_name", "software_version", "descriptor_version")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?i?B)")
_UNITS: dict[str, int] = {"B": 1} | {
    f"{letter}{i}B": (1024 if i else 1000) ** power
    for power, letter in enumerate("kMGT", 1)
    for i in ("", "i")
}
_MIB = 1024**2
_MEMORY_MAX_MIB, _CPUS_MAX = 65536, 64
"""As of deployments (`DeploymentRequest`)."""


@dataclass(frozen=True)
class Vnfd:
    descriptor_id: UUID
    provider: str
    product_name: str
    software_version: str
    descriptor_version: str
    flavour_id: str
    vdu_id: str
    image_id: str
    image_name: str
    image_version: str
    image_file: str
    """Its path in the package."""
    image_checksum: tuple[str, str] | None = None
    """Algorithm and hash, as the VNFD says them."""
    memory_mib: int | None = None
    cpus: float | None = None

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "descriptor_id": str(self.descriptor_id)}

    @classmethod
    def from_stored(cls, told: dict[str, Any]) -> Vnfd:
        checksum = told["image_checksum"]
        return cls(
            **{
                **told,
                "descriptor_id": UUID(told["descriptor_id"]),
                "image_checksum": tuple(checksum) if checksum else None,
            }
        )


def read_vnfd(archive: PackageArchive, definitions: Definitions) -> Vnfd:
    """Raises PackageRefusedError with what is missing or not supported."""
    entry = definitions.files[0]
    vnf = _the_vnf(definitions, entry)
    vdus = definitions.of_type(_VDU)
    if len(vdus) != 1:
        names = ", ".join(vdu.name for vdu in vdus) or "none"
        raise refused(
            f"{entry}: the VNF has {len(vdus)} VDUs ({names}); packages of one VDU are supported.",
            "Split the VNF into packages of one VDU each.",
        )
    vdu = vdus[0]
    properties = definitions.properties(vdu)
    image_id, artifact = _image_of(vdu)
    data = mapping_at(properties, "sw_image_data")
    checksum = mapping_at(data, "checksum") or mapping_at(artifact, "properties", "checksum")
    return Vnfd(
        **vnf,
        vdu_id=_text(vdu.name, vdu.file, "the VDU's name"),
        image_id=image_id,
        image_name=_text(data.get("name") or image_id, vdu.file, "the image's name"),
        image_version=_text(
            data.get("version") or vnf["software_version"], vdu.file, "the image's version"
        ),
        image_file=resolve(archive, vdu.file, str(artifact["file"])),
        image_checksum=(str(checksum["algorithm"]), str(checksum["hash"]).lower())
        if "algorithm" in checksum and "hash" in checksum
        else None,
        memory_mib=_memory_mib(vdu),
        cpus=_cpus(vdu),
    )


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
    texts = {key: _text(said[key], entry, key) for key in (*_NAMED, "flavour_id")}
    return {**texts, "descriptor_id": descriptor_id}


def _image_of(vdu: NodeTemplate) -> tuple[str, dict[str, Any]]:
    images = {
        str(name): artifact
        for name, artifact in mapping_at(vdu.body, "artifacts").items()
        if isinstance(artifact, dict) and artifact.get("type") == _IMAGE
    }
    if len(images) != 1:
        raise refused(
            f"{vdu.file}: the VDU {vdu.name} has {len(images)} artifacts of the type {_IMAGE}; "
            "it needs one."
        )
    name, artifact = next(iter(images.items()))
    file = artifact.get("file")
    if not isinstance(file, str) or "://" in file:
        raise refused(
            f"{vdu.file}: the image of {vdu.name} is not in the package, and nothing is fetched.",
            "Put the image into the package.",
        )
    return _text(name, vdu.file, "the image's name"), artifact


def _text(value: Any, file: str, what: str) -> str:
    text = str(value)
    if not 0 < len(text) <= 255 or not text.isprintable():
        raise refused(f"{file}: {what} is no short text.")
    return text


def _memory_mib(vdu: NodeTemplate) -> int | None:
    memory = mapping_at(vdu.body, "capabilities", "virtual_compute", "properties", "virtual_memory")
    size = memory.get("virtual_mem_size")
    if size is None:
        return None
    match = _SIZE.fullmatch(str(size).strip())
    unit = _UNITS.get(match[2]) if match else None
    mib = float(match[1]) * unit / _MIB if match and unit else math.inf
    if mib > _MEMORY_MAX_MIB:
        raise refused(
            f"{vdu.file}: virtual_mem_size {size!r} of {vdu.name} is no size up to"
            f" {_MEMORY_MAX_MIB} MiB."
        )
    return max(1, int(mib))


def _cpus(vdu: NodeTemplate) -> float | None:
    cpu = mapping_at(vdu.body, "capabilities", "virtual_compute", "properties", "virtual_cpu")
    count = cpu.get("num_virtual_cpu")
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int | float) or not 0 < count <= _CPUS_MAX:
        raise refused(
            f"{vdu.file}: num_virtual_cpu {count!r} of {vdu.name} is no number up to {_CPUS_MAX}."
        )
    return float(count)
