"""Takes the content of VNF packages in, checks it, and catalogues its image."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import IntegrityError

from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.errors import ImageInUseError, ImageRefusedError, UnknownImageError
from orchestrator.sol003.errors import (
    PackageBrokenOffError,
    PackageRefusedError,
    PackageTooLargeError,
)
from orchestrator.sol003.onboarding.archive import is_zip, open_archive, refused
from orchestrator.sol003.onboarding.csar import read_csar
from orchestrator.sol003.onboarding.image_vnfd import uploaded_vnfd_id, vnfd_of_image
from orchestrator.sol003.onboarding.states import OnboardingState
from orchestrator.sol003.onboarding.store import PackageStore, state_refusal
from orchestrator.sol003.onboarding.tables import VnfPackageRow
from orchestrator.sol003.onboarding.vnfd import Vnfd
from orchestrator.statuses import problem_of
from orchestrator.store.tables import ImageRow
from problem_details import ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)
_TRIES = 3
"""A crash while a package is processed may have been its own doing."""
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class _Found:
    vnfd: Vnfd
    image: ImageRow
    vnfd_files: list[str] | None = None
    artifacts: list[dict[str, str]] | None = None


class PackageIntake:
    """Thread-safe. Packages are processed one after the other, in a thread of its own."""

    def __init__(
        self,
        store: PackageStore,
        catalogue: Catalogue,
        folder: Path,
        clock: Clock,
        *,
        deployments: Callable[[bytes], int],
        max_bytes: int,
    ) -> None:
        """`folder` on the disk of the catalogue; `deployments`: how many need an image."""
        self._store = store
        self._catalogue = catalogue
        self._folder = folder
        self._clock = clock
        self._deployments = deployments
        self._max_bytes = max_bytes
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="package-onboarding")
        folder.mkdir(parents=True, exist_ok=True)

    def file(self, package_id: UUID) -> Path:
        """Where the content of a package lies."""
        return self._folder / str(package_id)

    def begin(self, package_id: UUID) -> Arrival:
        """Content begins to come. Raises UnknownVnfPackageError or VnfPackageStateError."""
        row = self._store.get(package_id)
        if not self._store.move(package_id, OnboardingState.CREATED, OnboardingState.UPLOADING):
            row = self._store.get(package_id)
            raise state_refusal(row, "given content", "Create another package for it.")
        try:
            return Arrival(self, row.package_id, self._part(package_id), self._max_bytes)
        except OSError as error:
            refusal = _not_stored(error)
            self.broke_off(package_id, refusal)
            raise refusal from error

    def discard(self, row: VnfPackageRow) -> None:
        """The package was deleted: its content goes, and its image if that came by it and nobody
        else has or uses it."""
        self.file(row.package_id).unlink(missing_ok=True)
        digest = row.image_digest
        if digest is None or not row.brought_image:
            return
        if self._store.owners_of_image(digest) != {row.project}:
            return
        try:
            self._catalogue.remove(
                digest.hex(), users=self._deployments, packages=self._store.of_image
            )
        except (ImageInUseError, UnknownImageError) as error:
            log.info("the image of a VNF package stays", image=digest.hex(), why=error.detail)

    def settle(self) -> None:
        """Call at start: uploads that a crash cut off are begun again by their senders; what was
        whole is processed again."""
        rows = self._store.every()
        for row in rows.values():
            if row.onboarding_state == OnboardingState.UPLOADING:
                self.broke_off(row.package_id, _cut_off())
        whole = (OnboardingState.PROCESSING, OnboardingState.ONBOARDED)
        known = {str(row.package_id) for row in rows.values() if row.onboarding_state in whole}
        for file in self._folder.iterdir():
            if file.name not in known:
                file.unlink(missing_ok=True)
        # Last, for what is processed makes files here that no row names.
        for row in rows.values():
            if row.onboarding_state == OnboardingState.PROCESSING:
                self._process_again(row)

    def close(self) -> None:
        """What is processed at this moment goes on at the next start."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    # --- for the arrival

    def arrived(self, package_id: UUID, size: int, sha256: bytes) -> None:
        """All of it is in the part file."""
        self._part(package_id).replace(self.file(package_id))
        self._store.move(
            package_id,
            OnboardingState.UPLOADING,
            OnboardingState.PROCESSING,
            content_bytes=size,
            content_sha256=sha256,
            arrived_at=self._clock.now(),
            tries=0,
            failure=None,
        )
        self._worker.submit(self._process, package_id)

    def broke_off(self, package_id: UUID, error: ProblemError) -> None:
        self._part(package_id).unlink(missing_ok=True)
        self._back(package_id, OnboardingState.UPLOADING, error)

    # --- inside

    def _part(self, package_id: UUID) -> Path:
        return self._folder / f"{package_id}.part"

    def _process_again(self, row: VnfPackageRow) -> None:
        if row.tries < _TRIES and self.file(row.package_id).exists():
            self._worker.submit(self._process, row.package_id)
        else:
            why = f"The orchestrator ended {row.tries} times while it was processed."
            self._failed(row.package_id, refused(why, "Look into its log, then upload it again."))

    def _process(self, package_id: UUID) -> None:
        row = self._store.every([package_id]).get(package_id)
        state = OnboardingState.PROCESSING
        if row is None or not self._store.move(package_id, state, state, tries=row.tries + 1):
            return
        try:
            self._onboard(row)
        except ProblemError as error:
            self._failed(package_id, error)
        except OSError as error:
            why = f"The package cannot be stored: {error.strerror or error}."
            self._failed(package_id, refused(why, "Free space on the catalogue's disk."))
        except Exception as error:  # nobody waits for it: the package tells
            log.exception("a VNF package was not processed", package=str(package_id))
            why = f"The orchestrator failed at it: {type(error).__name__}."
            self._failed(package_id, refused(why, "Look into its log."))

    def _onboard(self, row: VnfPackageRow) -> None:
        """Raises PackageRefusedError, ImageRefusedError or OSError."""
        before = self._store.images_of(row.project)
        file = self.file(row.package_id)
        found = self._csar(row, file) if is_zip(file) else self._bare(row, file)
        digest = found.image.digest
        # After a crash in the middle it is among those that were there before.
        brought = (
            digest not in before
            or (row.arrived_at is not None and found.image.added_at >= row.arrived_at)
            or self._store.is_brought(digest, row.project)
        )
        try:
            self._store.onboarded(
                row,
                digest,
                vnfd_id=found.vnfd.descriptor_id,
                vnfd=found.vnfd.stored(),
                vnfd_files=found.vnfd_files,
                artifacts=found.artifacts,
                brought_image=brought,
            )
        except IntegrityError as error:
            raise _known_vnfd(found.vnfd) from error
        log.info(
            "VNF package onboarded", package=str(row.package_id), image=found.image.digest.hex()
        )

    def _bare(self, row: VnfPackageRow, file: Path) -> _Found:
        asked = str(row.user_data.get("name", "")) or f"image-{row.package_id.hex[:8]}"
        name = _image_name(asked)
        image = self._catalogue.adopt(file, name, row.project)
        descriptor_id = uploaded_vnfd_id(row.package_id)
        # Not the image's own name: another project may have had it before, and called it so.
        return _Found(vnfd_of_image(descriptor_id, image.digest, name), image)

    def _csar(self, row: VnfPackageRow, file: Path) -> _Found:
        extracted = self._folder / f"{row.package_id}.image"
        try:
            with open_archive(file, max_bytes=self._max_bytes) as archive:
                csar = read_csar(archive)
                vnfd = csar.vnfd
                if self._store.of_vnfd(vnfd.descriptor_id, row.project) is not None:
                    raise _known_vnfd(vnfd)
                with extracted.open("wb") as image_file:
                    for piece in archive.pieces(vnfd.image_file):
                        image_file.write(piece)
            name = _image_name(f"{vnfd.product_name}-{vnfd.software_version}")
            try:
                image = self._catalogue.adopt(extracted, name, row.project)
            except ImageRefusedError as error:
                raise PackageRefusedError(
                    f"{vnfd.image_file}: {error.detail}", next_step=error.next_step
                ) from error
        finally:
            extracted.unlink(missing_ok=True)
        return _Found(vnfd, image, csar.vnfd_files, [asdict(each) for each in csar.artifacts])

    def _failed(self, package_id: UUID, error: ProblemError) -> None:
        self.file(package_id).unlink(missing_ok=True)
        self._back(package_id, OnboardingState.PROCESSING, error)

    def _back(self, package_id: UUID, source: OnboardingState, error: ProblemError) -> None:
        document: dict[str, Any] = problem_of(error).model_dump(mode="json", exclude_none=True)
        self._store.move(package_id, source, OnboardingState.CREATED, failure=document)
        log.warning("VNF package not onboarded", package=str(package_id), why=error.detail)


class Arrival:
    """The content of one package while it comes; `end` it in any case."""

    def __init__(self, intake: PackageIntake, package_id: UUID, part: Path, limit: int) -> None:
        self._intake = intake
        self._package_id = package_id
        self._limit = limit
        self._size = 0
        self._hasher = hashlib.sha256()
        self._is_whole = False
        self._file = part.open("wb")

    def write(self, piece: bytes) -> None:
        """Raises PackageTooLargeError, or PackageBrokenOffError where the disk does."""
        self._size += len(piece)
        if self._size > self._limit:
            raise PackageTooLargeError(
                f"The package has more than {self._limit} bytes.",
                next_step="Send a smaller one, or raise max_image_bytes.",
            )
        try:
            self._file.write(piece)
        except OSError as error:
            raise _not_stored(error) from error
        self._hasher.update(piece)

    def whole(self) -> None:
        """Nothing more comes. Raises PackageBrokenOffError where nothing came."""
        if self._size == 0:
            raise PackageBrokenOffError(
                "The package is empty.", next_step="Check the file, then upload it again."
            )
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise _not_stored(error) from error
        self._intake.arrived(self._package_id, self._size, self._hasher.digest())
        self._is_whole = True

    def end(self, error: BaseException | None) -> None:
        """Give up what did not come whole, because of `error`."""
        if self._is_whole:
            return
        with contextlib.suppress(OSError):  # a full disk refuses the rest of it once more
            self._file.close()
        why = error if isinstance(error, ProblemError) else _cut_off()
        self._intake.broke_off(self._package_id, why)


def _not_stored(error: OSError) -> PackageBrokenOffError:
    return PackageBrokenOffError(
        f"The package cannot be stored: {error.strerror or error}.",
        next_step="Free space on the catalogue's disk, then upload it again.",
    )


def _cut_off() -> PackageBrokenOffError:
    return PackageBrokenOffError(
        "The upload broke off before its end.", next_step="Upload the package again."
    )


def _known_vnfd(vnfd: Vnfd) -> PackageRefusedError:
    return refused(
        f"The project has a package with the VNFD {vnfd.descriptor_id} already.",
        "Delete that package first, or give the VNFD another descriptor_id.",
    )


def _image_name(text: str) -> str:
    """As near to it as the catalogue's names allow."""
    return _NO_NAME.sub("-", text).strip("-._")[:64] or "image"
