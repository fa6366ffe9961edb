"""The VDUs of a VNFD: virtual machines, and containers by themselves in a deployable unit."""

from __future__ import annotations

import math
import re
from typing import Any

from orchestrator.sol003.onboarding.archive import PackageArchive, refused
from orchestrator.sol003.onboarding.definitions import (
    Definitions,
    NodeTemplate,
    mapping_at,
    resolve,
)
from orchestrator.sol003.onboarding.vnfd import Vdu

_COMPUTE = "tosca.nodes.nfv.Vdu.Compute"
_DEPLOYABLE = "tosca.nodes.nfv.Vdu.OsContainerDeployableUnit"
_CONTAINER = "tosca.nodes.nfv.Vdu.OsContainer"
_IMAGE = "tosca.artifacts.nfv.SwImage"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?i?B)")
_UNITS: dict[str, int] = {"B": 1} | {
    f"{letter}{i}B": (1024 if i else 1000) ** power
    for power, letter in enumerate("kMGT", 1)
    for i in ("", "i")
}
_MIB = 1024**2
_MEMORY_MAX_MIB, _CPUS_MAX = 65536, 64
"""As of deployments (`DeploymentRequest`)."""
_VDUS_MAX = 16
INSTANCES_MAX = 64
"""Of one VDU."""


def read_vdus(
    archive: PackageArchive, definitions: Definitions, software_version: str
) -> tuple[Vdu, ...]:
    """In the order of the VNFD. Raises PackageRefusedError."""
    entry = definitions.files[0]
    computes = definitions.of_type(_COMPUTE)
    units = definitions.of_type(_DEPLOYABLE)
    found = [each for each in definitions.templates if each in computes or each in units]
    if not 1 <= len(found) <= _VDUS_MAX:
        raise refused(
            f"{entry}: the VNF has {len(found)} VDUs; 1 to {_VDUS_MAX} are supported.",
            f"Describe each VDU as {_COMPUTE} or {_DEPLOYABLE}.",
        )
    names = [each.name for each in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise refused(f"{entry}: two VDUs are called {twice[0]}.")
    containers = {each.name: each for each in definitions.of_type(_CONTAINER)}
    return tuple(
        _vdu(
            archive,
            definitions,
            each,
            each if each in computes else _container_of(each, containers),
            software_version,
        )
        for each in found
    )


def _vdu(
    archive: PackageArchive,
    definitions: Definitions,
    vdu: NodeTemplate,
    holder: NodeTemplate,
    software_version: str,
) -> Vdu:
    """`holder` has the image and the sizes: the VDU itself, or its container."""
    properties = definitions.properties(holder)
    image_id, artifact = _image_of(holder)
    data = mapping_at(properties, "sw_image_data")
    checksum = mapping_at(data, "checksum") or mapping_at(artifact, "properties", "checksum")
    fewest, most = _profile(definitions, vdu)
    is_compute = vdu is holder
    return Vdu(
        vdu_id=short_text(vdu.name, vdu.file, "the VDU's name"),
        image_id=image_id,
        image_name=short_text(data.get("name") or image_id, holder.file, "the image's name"),
        image_version=short_text(
            data.get("version") or software_version, holder.file, "the image's version"
        ),
        image_file=resolve(archive, holder.file, str(artifact["file"])),
        image_checksum=(str(checksum["algorithm"]), str(checksum["hash"]).lower())
        if "algorithm" in checksum and "hash" in checksum
        else None,
        memory_mib=_memory_mib(vdu) if is_compute else _container_memory_mib(holder, properties),
        cpus=_cpus(vdu) if is_compute else _container_cpus(holder, properties),
        min_instances=fewest,
        max_instances=most,
    )


def _container_of(unit: NodeTemplate, containers: dict[str, NodeTemplate]) -> NodeTemplate:
    listed = unit.body.get("requirements") or []
    wanted = [
        each["container"].get("node") if isinstance(each["container"], dict) else each["container"]
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and "container" in each
    ]
    if len(wanted) != 1 or wanted[0] not in containers:
        raise refused(
            f"{unit.file}: the deployable unit {unit.name} requires {len(wanted)} containers "
            f"({', '.join(map(str, wanted)) or 'none'}); one of the type {_CONTAINER} is supported."
        )
    return containers[str(wanted[0])]


def _profile(definitions: Definitions, vdu: NodeTemplate) -> tuple[int, int]:
    """The fewest and the most instances."""
    profile = mapping_at(definitions.properties(vdu), "vdu_profile")
    fewest = count(profile.get("min_number_of_instances", 1), vdu, "min_number_of_instances")
    most = count(
        profile.get("max_number_of_instances", max(1, fewest)), vdu, "max_number_of_instances"
    )
    if not fewest <= most or most < 1:
        raise refused(f"{vdu.file}: {vdu.name} has {fewest} to {most} instances.")
    return fewest, most


def count(value: Any, where: NodeTemplate, what: str) -> int:
    """A number of instances. Raises PackageRefusedError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INSTANCES_MAX:
        raise refused(
            f"{where.file}: {what} {value!r} of {where.name} is no number up to {INSTANCES_MAX}."
        )
    return value


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
    return short_text(name, vdu.file, "the image's name"), artifact


def short_text(value: Any, file: str, what: str) -> str:
    """Raises PackageRefusedError."""
    text = str(value)
    if not 0 < len(text) <= 255 or not text.isprintable():
        raise refused(f"{file}: {what} is no short text.")
    return text


def _memory_mib(vdu: NodeTemplate) -> int | None:
    memory = mapping_at(vdu.body, "capabilities", "virtual_compute", "properties", "virtual_memory")
    return _mib(memory.get("virtual_mem_size"), vdu, "virtual_mem_size")


def _container_memory_mib(container: NodeTemplate, properties: dict[str, Any]) -> int | None:
    for name in ("memory_resource_limit", "requested_memory_resources"):
        if name in properties:
            return _mib(properties[name], container, name)
    return None


def _mib(size: Any, where: NodeTemplate, what: str) -> int | None:
    if size is None:
        return None
    match = _SIZE.fullmatch(str(size).strip())
    unit = _UNITS.get(match[2]) if match else None
    mib = float(match[1]) * unit / _MIB if match and unit else math.inf
    if mib > _MEMORY_MAX_MIB:
        raise refused(
            f"{where.file}: {what} {size!r} of {where.name} is no size up to {_MEMORY_MAX_MIB} MiB."
        )
    return max(1, int(mib))


def _cpus(vdu: NodeTemplate) -> float | None:
    cpu = mapping_at(vdu.body, "capabilities", "virtual_compute", "properties", "virtual_cpu")
    return _cpu_count(cpu.get("num_virtual_cpu"), vdu, "num_virtual_cpu")


def _container_cpus(container: NodeTemplate, properties: dict[str, Any]) -> float | None:
    for name in ("cpu_resource_limit", "requested_cpu_resources"):
        if name in properties:
            return _cpu_count(properties[name], container, name, thousandths=True)
    return None


def _cpu_count(
    number: Any, where: NodeTemplate, what: str, *, thousandths: bool = False
) -> float | None:
    if number is None:
        return None
    most = _CPUS_MAX * 1000 if thousandths else _CPUS_MAX
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= most:
        raise refused(f"{where.file}: {what} {number!r} of {where.name} is no number up to {most}.")
    return number / 1000 if thousandths else float(number)
