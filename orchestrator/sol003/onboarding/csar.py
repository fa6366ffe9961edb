"""A package as ETSI GS NFV-SOL 004 says: `TOSCA-Metadata/TOSCA.meta`, manifest, VNFD, image."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from orchestrator.sol003.onboarding.archive import PackageArchive, refused
from orchestrator.sol003.onboarding.definitions import read_definitions
from orchestrator.sol003.onboarding.manifest import ListedFile, algorithm_of, read_manifest
from orchestrator.sol003.onboarding.vnfd import Vdu, Vnfd
from orchestrator.sol003.onboarding.vnfd_reader import read_vnfd

_META = "TOSCA-Metadata/TOSCA.meta"
_UNLISTED = (".mf", ".cert", ".csm", ".cms")
"""Files that a manifest cannot or need not list: itself, and what signs."""


@dataclass(frozen=True)
class Csar:
    vnfd: Vnfd
    vnfd_files: list[str]
    """The entry file first."""
    artifacts: list[ListedFile]
    """What is neither VNFD nor an image."""


def read_csar(archive: PackageArchive) -> Csar:
    """Check the whole package. Raises PackageRefusedError."""
    meta = _meta(archive.document(_META))
    entry = meta.get("entry-definitions")
    if entry is None:
        raise refused(f"{_META} names no Entry-Definitions.")
    listed = _check_manifest(archive, _manifest_of(archive, meta, entry))
    definitions = read_definitions(archive, entry)
    vnfd = read_vnfd(archive, definitions)
    for vdu in vnfd.vdus:
        if vdu.image_checksum is not None:
            _check_image(archive, vdu, vdu.image_checksum)
    known = {*definitions.files, *(vdu.image_file for vdu in vnfd.vdus), _META}
    artifacts = [file for file in listed if file.source not in known]
    return Csar(vnfd, definitions.files, artifacts)


def _meta(text: str) -> dict[str, str]:
    """Names are in lower case."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _manifest_of(archive: PackageArchive, meta: dict[str, str], entry: str) -> str:
    name = meta.get("etsi-entry-manifest") or meta.get("entry-manifest")
    if name is None:
        name = posixpath.splitext(posixpath.basename(entry))[0] + ".mf"
    if name not in archive:
        raise refused(
            f"The package has no manifest {name}.",
            f"Name it as ETSI-Entry-Manifest in {_META}.",
        )
    return name


def _check_manifest(archive: PackageArchive, name: str) -> list[ListedFile]:
    """Every file must be listed, and be as it is listed."""
    listed = read_manifest(archive.document(name), name)
    sources = {file.source for file in listed}
    if len(sources) < len(listed):
        raise refused(f"{name} lists a file twice.")
    for file in listed:
        if file.source not in archive:
            raise refused(f"{name}, line {file.line}: {file.source} is not in the package.")
        found = archive.digest(file.source, file.algorithm)
        if found != file.digest:
            raise refused(
                f"{name}, line {file.line}: the {file.algorithm} digest of {file.source} is "
                f"{found}, listed is {file.digest[:128]}.",
                "Check the file, make the manifest anew, then upload the package again.",
            )
    for member in archive.names:
        if member not in sources and member != _META and not member.endswith(_UNLISTED):
            raise refused(f"{name} does not list {member}, which is in the package.")
    return listed


def _check_image(archive: PackageArchive, vdu: Vdu, checksum: tuple[str, str]) -> None:
    algorithm = algorithm_of(checksum[0])
    if algorithm is None:
        raise refused(
            f"The checksum of the image {vdu.image_name} is by {checksum[0][:32]!r}, which is "
            "not accepted.",
            "Use sha-256 or sha-512.",
        )
    found = archive.digest(vdu.image_file, algorithm)
    if found != checksum[1]:
        raise refused(
            f"The {algorithm} digest of {vdu.image_file} is {found}, the VNFD says "
            f"{checksum[1][:128]}.",
            "Check the image, then upload the package again.",
        )
