"""Takes the content of VNF packages in, checks it, and catalogues its images."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, TimeoutError
from sqlalchemy.orm import Session

from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.errors import ImageInUseError, ImageRefusedError, UnknownImageError
from orchestrator.sol003.errors import (
    PackageLimitError,
    PackageRefusedError,
    PackageTooLargeError,
)
from orchestrator.sol003.onboarding.archive import PackageArchive, is_zip, open_archive, refused
from orchestrator.sol003.onboarding.arrival import Arrival, cut_off, not_stored
from orchestrator.sol003.onboarding.csar import read_csar
from orchestrator.sol003.onboarding.image_vnfd import uploaded_vnfd_id, vnfd_of_image
from orchestrator.sol003.onboarding.in_hand import InHand
from orchestrator.sol003.onboarding.quota import PackageQuota
from orchestrator.sol003.onboarding.refusals import state_refusal
from orchestrator.sol003.onboarding.states import OnboardingState
from orchestrator.sol003.onboarding.store import PackageStore
from orchestrator.sol003.onboarding.tables import VnfPackageRow
from orchestrator.sol003.onboarding.vnfd import Vdu, Vnfd
from orchestrator.statuses import problem_of
from orchestrator.store.tables import ImageRow
from problem_details import ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)
_COMING = (OnboardingState.UPLOADING, OnboardingState.PROCESSING)
_TRIES = 3
"""A crash while a package is processed may have been its own doing."""
_AWAY = (OperationalError, InterfaceError, TimeoutError)
"""What SQLAlchemy raises while a database does not answer."""
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
Result = TypeVar("Result")
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class _Found:
    vnfd: Vnfd
    images: dict[str, ImageRow]
    """By VDU."""
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
        self._closing = threading.Event()
        self._added: set[tuple[bytes, str]] = set()
        """Images that projects added by themselves since the present package was begun."""
        catalogue.on_add(self._image_added)
        folder.mkdir(parents=True, exist_ok=True)
        self._in_hand = InHand(folder.with_name(f"{folder.name}-in-hand"))

    def file(self, package_id: UUID) -> Path:
        """Where the content of a package lies."""
        return self._folder / str(package_id)

    def begin(self, package_id: UUID, quota: PackageQuota | None = None) -> Arrival:
        """Content begins to come. Raises UnknownVnfPackageError, VnfPackageStateError, or
        PackageLimitError where its project may hold no more."""
        row = self._store.get(package_id)
        limit = self._max_bytes
        too_large: ProblemError = self.too_large()
        if quota is not None and (room := self._store.room_bytes(row, quota)) < limit:
            limit, too_large = room, quota.refusal(row.project)
            if room == 0:
                raise too_large
        self._in_hand.take(package_id)
        if not self._store.move(
            package_id, OnboardingState.CREATED, OnboardingState.UPLOADING, content_bytes=None
        ):
            row = self._store.get(package_id)
            if row.onboarding_state not in _COMING:
                self._in_hand.leave(package_id)
            raise state_refusal(row, "given content", "Create another package for it.")
        try:
            return Arrival(
                self._part(package_id),
                limit,
                too_large,
                arrived=lambda size, sha256: self._arrived(package_id, size, sha256, quota),
                broke_off=lambda error: self.broke_off(package_id, error),
            )
        except OSError as error:
            refusal = not_stored(error)
            self.broke_off(package_id, refusal)
            raise refusal from error

    def discard(self, row: VnfPackageRow, brought: Collection[bytes]) -> None:
        """The package was deleted: its content goes, and those of its images that came by it and
        nobody else has or uses."""
        self.file(row.package_id).unlink(missing_ok=True)
        self._in_hand.forget(row.package_id)
        for digest in brought:
            self._let_go(digest, row.project)

    def _let_go(self, digest: bytes, project: str) -> None:
        if self._store.owners_of_image(digest) != {project}:
            return
        try:
            self._catalogue.remove(
                digest.hex(), users=self._deployments, packages=self._store.of_image
            )
        except (ImageInUseError, UnknownImageError) as error:
            log.info("the image of a VNF package stays", image=digest.hex(), why=error.detail)

    def settle(self) -> None:
        """Call at start: uploads that a crash cut off are begun again by their senders; what was
        whole is processed again. What another orchestrator has in hand is left to it."""
        rows = self._store.every()
        elsewhere = {
            str(row.package_id)
            for row in rows.values()
            if row.onboarding_state in _COMING and not self._in_hand.take(row.package_id)
        }
        ours = [row for row in rows.values() if str(row.package_id) not in elsewhere]
        for row in ours:
            if row.onboarding_state == OnboardingState.UPLOADING:
                # Where a size was announced it comes by an upload, which goes on.
                if row.content_bytes is None:
                    self.broke_off(row.package_id, cut_off())
                self._in_hand.leave(row.package_id)
        whole = (OnboardingState.PROCESSING, OnboardingState.ONBOARDED)
        known = {str(row.package_id) for row in ours if row.onboarding_state in whole}
        for file in self._folder.iterdir():
            if file.name not in known and file.name.partition(".")[0] not in elsewhere:
                file.unlink(missing_ok=True)
        # Last, for what is processed makes files here that no row names.
        for row in ours:
            if row.onboarding_state == OnboardingState.PROCESSING:
                self._process_again(row)

    def close(self) -> None:
        """What is processed at this moment goes on at the next start."""
        self._closing.set()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def arrived(
        self, package_id: UUID, size: int, sha256: bytes, quota: PackageQuota | None = None
    ) -> None:
        """All of its content is in its file: it is processed. Raises PackageLimitError, or
        UnknownVnfPackageError."""
        self._in_hand.take(package_id)
        if self._store.arrived(package_id, self._clock.now(), size, sha256, quota):
            self._worker.submit(self._process, package_id)

    def broke_off(self, package_id: UUID, error: ProblemError) -> None:
        """What came of its content goes; the package tells why once the database is there."""
        self._part(package_id).unlink(missing_ok=True)
        try:
            self._back(package_id, OnboardingState.UPLOADING, error)
        except _AWAY as away:
            log.error("a VNF package waits", package=str(package_id), why=type(away).__name__)
            self._worker.submit(
                lambda: self._patiently(
                    lambda: self._back(package_id, OnboardingState.UPLOADING, error)
                )
            )

    def too_large(self) -> PackageTooLargeError:
        return PackageTooLargeError(
            f"The package has more than {self._max_bytes} bytes.",
            next_step="Send a smaller one, or raise max_image_bytes.",
        )

    # --- inside

    def _arrived(
        self, package_id: UUID, size: int, sha256: bytes, quota: PackageQuota | None
    ) -> None:
        """All of it is in the part file. Raises PackageLimitError."""
        file = self._part(package_id).replace(self.file(package_id))
        try:
            self.arrived(package_id, size, sha256, quota)
        except PackageLimitError:
            file.unlink()
            raise

    def _part(self, package_id: UUID) -> Path:
        return self._folder / f"{package_id}.part"

    def _process_again(self, row: VnfPackageRow) -> None:
        if row.tries < _TRIES and self.file(row.package_id).exists():
            self._worker.submit(self._process, row.package_id)
        else:
            why = f"The orchestrator ended {row.tries} times while it was processed."
            self._failed(row.package_id, refused(why, "Look into its log, then upload it again."))

    def _process(self, package_id: UUID) -> None:
        """While the database is away the package waits; where the orchestrator ends first, it is
        processed again at the next start."""
        try:
            row = self._patiently(lambda: self._begun(package_id))
            error = self._patiently(lambda: self._onboarding_error(row)) if row else None
            if error is not None:
                self._patiently(lambda: self._failed(package_id, error))
        except _AWAY as error:
            log.error("a VNF package waits", package=str(package_id), why=type(error).__name__)
        finally:
            self._in_hand.leave(package_id)

    def _patiently(self, work: Callable[[], Result]) -> Result:
        """What `work` answers once the database does. Raises what the database does where the
        orchestrator ends first."""
        pause_s = _PAUSE_S
        while True:
            try:
                return work()
            except _AWAY as error:
                log.error("packages wait for the database", why=type(error).__name__)
                if self._clock.wait(self._closing, pause_s):
                    raise
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _begun(self, package_id: UUID) -> VnfPackageRow | None:
        """None where it is not to be processed any more."""
        row = self._store.every([package_id]).get(package_id)
        state = OnboardingState.PROCESSING
        if row is None or not self._store.move(package_id, state, state, tries=row.tries + 1):
            return None
        return row

    def _onboarding_error(self, row: VnfPackageRow) -> ProblemError | None:
        """Onboard it; why that could not be. Raises what a database does that is away."""
        try:
            self._onboard(row)
        except ProblemError as error:
            return error
        except _AWAY:
            raise
        except OSError as error:
            why = f"The package cannot be stored: {error.strerror or error}."
            return refused(why, "Free space on the catalogue's disk.")
        except Exception as error:  # nobody waits for it: the package tells
            log.exception("a VNF package was not processed", package=str(row.package_id))
            why = f"The orchestrator failed at it: {type(error).__name__}."
            return refused(why, "Look into its log.")
        return None

    def _onboard(self, row: VnfPackageRow) -> None:
        """Raises PackageRefusedError, ImageRefusedError or OSError."""
        self._added.clear()
        before = self._store.images_of(row.project)
        file = self.file(row.package_id)
        found = self._csar(row, file) if is_zip(file) else self._bare(row, file)
        brought = {
            image.digest for image in found.images.values() if self._is_brought(image, row, before)
        }
        try:
            self._store.onboarded(
                row,
                {vdu_id: image.digest for vdu_id, image in found.images.items()},
                vnfd_id=found.vnfd.descriptor_id,
                vnfd=found.vnfd.stored(),
                vnfd_files=found.vnfd_files,
                artifacts=found.artifacts,
                is_brought=lambda digest: (
                    digest in brought and (digest, row.project) not in self._added
                ),
            )
        except IntegrityError as error:
            raise _known_vnfd(found.vnfd) from error
        log.info(
            "VNF package onboarded",
            package=str(row.package_id),
            images=[image.digest.hex() for image in found.images.values()],
        )

    def _is_brought(self, image: ImageRow, row: VnfPackageRow, before: Collection[bytes]) -> bool:
        # After a crash in the middle it is among those that were there before.
        return (
            image.digest not in before
            or (row.arrived_at is not None and image.added_at >= row.arrived_at)
            or self._store.is_brought(image.digest, row.project)
        )

    def _bare(self, row: VnfPackageRow, file: Path) -> _Found:
        asked = str(row.user_data.get("name", "")) or f"image-{row.package_id.hex[:8]}"
        name = _image_name(asked)
        image = self._catalogue.adopt(file, name, row.project, of_package=True)
        descriptor_id = uploaded_vnfd_id(row.package_id)
        # Not the image's own name: another project may have had it before, and called it so.
        vnfd = vnfd_of_image(descriptor_id, image.digest, name)
        return _Found(vnfd, {vnfd.vdus[0].vdu_id: image})

    def _csar(self, row: VnfPackageRow, file: Path) -> _Found:
        before = self._store.images_of(row.project)
        adopted: dict[str, ImageRow] = {}
        with open_archive(file, max_bytes=self._max_bytes) as archive:
            csar = read_csar(archive)
            vnfd = csar.vnfd
            if self._store.of_vnfd(vnfd.descriptor_id, row.project) is not None:
                raise _known_vnfd(vnfd)
            try:
                for vdu in vnfd.vdus:
                    if vdu.image_file not in adopted:
                        adopted[vdu.image_file] = self._adopt(archive, vdu, vnfd, row)
            except (ProblemError, OSError):
                for image in adopted.values():
                    is_added = (image.digest, row.project) in self._added
                    if self._is_brought(image, row, before) and not is_added:
                        self._let_go(image.digest, row.project)
                raise
        images = {vdu.vdu_id: adopted[vdu.image_file] for vdu in vnfd.vdus}
        return _Found(vnfd, images, csar.vnfd_files, [asdict(each) for each in csar.artifacts])

    def _adopt(self, archive: PackageArchive, vdu: Vdu, vnfd: Vnfd, row: VnfPackageRow) -> ImageRow:
        extracted = self._folder / f"{row.package_id}.image"
        parts = [vnfd.product_name, *([vdu.vdu_id] if vnfd.vdus[1:] else []), vnfd.software_version]
        name = _image_name("-".join(parts))
        try:
            with extracted.open("wb") as image_file:
                for piece in archive.pieces(vdu.image_file):
                    image_file.write(piece)
            return self._catalogue.adopt(extracted, name, row.project, of_package=True)
        except ImageRefusedError as error:
            raise PackageRefusedError(
                f"{vdu.image_file}: {error.detail}", next_step=error.next_step
            ) from error
        finally:
            extracted.unlink(missing_ok=True)

    def _image_added(self, session: Session, digest: bytes, project: str) -> None:
        self._added.add((digest, project))
        self._store.image_added(session, digest, project)

    def _failed(self, package_id: UUID, error: ProblemError) -> None:
        self.file(package_id).unlink(missing_ok=True)
        self._back(package_id, OnboardingState.PROCESSING, error)

    def _back(self, package_id: UUID, source: OnboardingState, error: ProblemError) -> None:
        document: dict[str, Any] = problem_of(error).model_dump(mode="json", exclude_none=True)
        self._store.move(
            package_id, source, OnboardingState.CREATED, failure=document, content_bytes=None
        )
        self._in_hand.leave(package_id)
        log.warning("VNF package not onboarded", package=str(package_id), why=error.detail)


def _known_vnfd(vnfd: Vnfd) -> PackageRefusedError:
    return refused(
        f"The project has a package with the VNFD {vnfd.descriptor_id} already.",
        "Delete that package first, or give the VNFD another descriptor_id.",
    )


def _image_name(text: str) -> str:
    """As near to it as the catalogue's names allow."""
    return _NO_NAME.sub("-", text).strip("-._")[:64] or "image"
