"""Files of VNF packages, given out as they came."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

from orchestrator.sol003.errors import UnacceptableFormError, UnknownArtifactError
from orchestrator.sol003.onboarding.archive import PackageArchive, is_zip, open_archive
from orchestrator.sol003.onboarding.image_vnfd import vnfd_text
from orchestrator.sol003.onboarding.intake import PackageIntake
from orchestrator.sol003.onboarding.refusals import state_refusal, unknown_package
from orchestrator.sol003.onboarding.states import OnboardingState
from orchestrator.sol003.onboarding.tables import VnfPackageRow
from orchestrator.sol003.onboarding.vnfd import Vnfd
from orchestrator.sol003.packages import VnfPackages

_TEXT, _ZIP = "text/plain", "application/zip"
_ENDLESS = 2**63
"""It was checked when it came."""


class PackageFiles:
    """Thread-safe."""

    def __init__(self, packages: VnfPackages, intake: PackageIntake) -> None:
        self._packages = packages
        self._intake = intake

    def content(self, package_id: UUID) -> Path:
        """Raises UnknownVnfPackageError or VnfPackageStateError."""
        file = self._intake.file(self._onboarded(package_id).package_id)
        if not file.exists():  # deleted at this moment
            raise unknown_package(package_id)
        return file

    def media_type(self, package_id: UUID) -> str:
        is_archive = self._onboarded(package_id).vnfd_files is not None
        return _ZIP if is_archive else "application/octet-stream"

    def vnfd(self, package_id: UUID, accepted: str) -> tuple[str, bytes]:
        """Its media type and itself. Raises UnacceptableFormError too."""
        texts = self._vnfd_files(package_id)
        takes = {each.split(";")[0].strip() for each in accepted.split(",")}
        anything = bool({"*/*", "text/*"} & takes)
        if len(texts) == 1 and (anything or _TEXT in takes):
            return _TEXT, next(iter(texts.values())).encode()
        if {"*/*", "application/*", _ZIP} & takes:
            return _ZIP, _zipped(texts)
        raise UnacceptableFormError(
            f"The VNFD of package {package_id} has {len(texts)} file(s).",
            next_step=f"Accept {_ZIP}.",
        )

    def artifact(self, package_id: UUID, path: str) -> tuple[int, Iterator[bytes]]:
        """Its size and content. Raises UnknownArtifactError too."""
        file = self.content(package_id)
        if not is_zip(file):
            raise _unknown_artifact(package_id, path)
        with ExitStack() as stack:
            archive = stack.enter_context(open_archive(file, max_bytes=_ENDLESS))
            if path not in archive:
                raise _unknown_artifact(package_id, path)
            return archive.size(path), _pieces(archive, path, stack.pop_all())

    # --- inside

    def _onboarded(self, package_id: UUID) -> VnfPackageRow:
        row = self._packages.uploaded(package_id)
        if row.onboarding_state != OnboardingState.ONBOARDED:
            raise state_refusal(row, "read", "Wait until it is ONBOARDED, or upload its content.")
        return row

    def _vnfd_files(self, package_id: UUID) -> dict[str, str]:
        image = self._packages.image_alone(package_id)
        if image is not None:
            return {"vnfd.yaml": self._packages.image_vnfd(image)}
        row = self._onboarded(package_id)
        if row.vnfd_files is None:
            assert row.vnfd is not None  # it is ONBOARDED
            made = vnfd_text(Vnfd.from_stored(row.vnfd), self._packages.image_of(row))
            return {"vnfd.yaml": made}
        with open_archive(self.content(package_id), max_bytes=_ENDLESS) as archive:
            return {name: archive.document(name) for name in row.vnfd_files}


def _pieces(archive: PackageArchive, path: str, stack: ExitStack) -> Iterator[bytes]:
    with stack:
        yield from archive.pieces(path)


def _zipped(texts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def _unknown_artifact(package_id: UUID, path: str) -> UnknownArtifactError:
    return UnknownArtifactError(
        f"VNF package {package_id} has no file {path[:255]!r}.",
        next_step="Its additionalArtifacts and softwareImages name the paths.",
    )
