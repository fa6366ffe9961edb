"""Takes images, and the content of VNF packages, in piece by piece over as many connections as it
needs."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from blake3 import blake3
from sqlalchemy import Engine, delete, select, update

from database import reading, writing
from orchestrator.catalogue.catalogue import Catalogue, check_name
from orchestrator.errors import ImageRefusedError
from orchestrator.settings import UploadsTable
from orchestrator.uploads.contents import PackageContents
from orchestrator.uploads.errors import (
    UnknownUploadError,
    UploadDamagedError,
    UploadLimitError,
    UploadOffsetError,
    UploadTooLargeError,
)
from orchestrator.uploads.receiver import Desk, Receiver
from orchestrator.uploads.tables import UploadRow
from timekeeping import Clock


@dataclass(frozen=True)
class Announced:
    """What somebody wants to upload. The digests are of the file as it is sent."""

    name: str
    size_bytes: int
    sha256: bytes | None = None
    blake3: bytes | None = None
    project: str | None = None
    """Whose the image shall be."""
    vnf_package_id: UUID | None = None
    """The package whose content it is: it goes there, and belongs to the package's project."""


class Uploads:
    """Thread-safe. A broken connection may be open here still: the next one takes over from it."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        clock: Clock,
        catalogue: Catalogue,
        table: UploadsTable,
        *,
        max_image_bytes: int,
    ) -> None:
        """`engine` with the table of `migrate_uploads`; `folder` on the disk of the catalogue."""
        self._engine = engine
        self._folder = folder
        self._clock = clock
        self._catalogue = catalogue
        self._limits = table
        self._max_image_bytes = max_image_bytes
        self._lock = threading.Lock()
        self._desks: dict[UUID, Desk] = {}
        self._contents: PackageContents | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def bring_to(self, contents: PackageContents) -> None:
        """Call before `settle`: where the content of packages goes."""
        self._contents = contents

    @property
    def _packages(self) -> PackageContents:
        assert self._contents is not None, "nobody takes the content of packages"
        return self._contents

    def begin(self, owner: str, announced: Announced) -> UploadRow:
        """Raises ImageRefusedError, UploadTooLargeError, UploadLimitError, UnknownProjectError,
        ProjectChoiceError, or what PackageContents does."""
        check_name(announced.name)
        if announced.size_bytes > self._max_image_bytes:
            raise UploadTooLargeError(
                f"The upload is larger than {self._max_image_bytes} bytes.",
                next_step="Send a smaller one, or raise max_image_bytes.",
            )
        self.expire()
        if announced.vnf_package_id is None:
            return self._opened(owner, announced, self._catalogue.chosen_project(announced.project))
        project = self._packages.expect(announced.vnf_package_id, announced.size_bytes)
        try:
            return self._opened(owner, announced, project)
        except BaseException:
            self._packages.expect_no_more(announced.vnf_package_id)
            raise

    def _opened(self, owner: str, announced: Announced, project: str) -> UploadRow:
        now = self._clock.now()
        row = UploadRow(
            upload_id=uuid4(),
            owner=owner,
            name=announced.name,
            size=announced.size_bytes,
            sha256=announced.sha256,
            blake3=announced.blake3,
            project=project,
            created_at=now,
            touched_at=now,
            image_digest=None,
            vnf_package_id=announced.vnf_package_id,
            finished_at=None,
        )
        with self._lock, writing(self._engine) as session:
            unfinished = select(UploadRow).where(
                UploadRow.owner == owner, UploadRow.finished_at.is_(None)
            )
            self._check_limits(list(session.scalars(unfinished)), announced.size_bytes)
            session.add(row)
        return row

    def get(self, upload_id: UUID, owner: str | None) -> UploadRow:
        """One upload; with `owner`, only if it is his. Raises UnknownUploadError."""
        with reading(self._engine) as session:
            row = session.get(UploadRow, upload_id)
            if row is None or owner not in (None, row.owner):
                raise UnknownUploadError(
                    f"There is no upload {upload_id}; what is left alone is thrown away.",
                    next_step="Begin it again: POST /api/v1/uploads.",
                )
            session.expunge(row)
            return row

    def all(self, owner: str) -> list[UploadRow]:
        """His uploads that are not whole yet, newest first."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(UploadRow)
                .where(UploadRow.owner == owner, UploadRow.finished_at.is_(None))
                .order_by(UploadRow.created_at.desc())
            ).all()
            session.expunge_all()
            return list(rows)

    def offset(self, row: UploadRow) -> int:
        """How many bytes are here."""
        if row.finished_at is not None:
            return row.size
        try:
            return self._file(row.upload_id).stat().st_size
        except FileNotFoundError:
            return 0

    def expires_at(self, row: UploadRow) -> datetime:
        return row.touched_at + timedelta(seconds=self._limits.keep_s)

    def receive(self, row: UploadRow, offset: int) -> Receiver:
        """Go on at `offset`; whoever did so before is stopped. Raises UploadOffsetError."""
        desk = self._desk(row.upload_id)
        with desk.lock:
            here = self.offset(row)
            if offset != here:
                raise UploadOffsetError(
                    f"The upload stands at byte {here}, not at {offset}.",
                    next_step="Ask with HEAD where it stands, and go on there.",
                    offset=here,
                )
            if row.finished_at is None:
                self._touch(row.upload_id)
            touch = partial(self._touch, row.upload_id)
            desk.holder = Receiver(desk, self._file(row.upload_id), row, here, touch)
            return desk.holder

    def finish(self, row: UploadRow) -> UploadRow:
        """Hand the whole file over, once: to the catalogue or to its package. Nothing happens while
        bytes are missing.

        Raises ImageRefusedError or UploadDamagedError; the upload is thrown away with it if its
        content is at fault. What is wrong with a package's content the package tells.
        """
        with self._desk(row.upload_id).lock:
            row = self.get(row.upload_id, None)
            if row.finished_at is not None or self.offset(row) < row.size:
                return row
            file = self._file(row.upload_id)
            try:
                _check_digests(file, row)
                digest = self._handed_over(file, row)
            except (ImageRefusedError, UploadDamagedError) as error:
                if not isinstance(error.__cause__, OSError):  # else the disk, not the content
                    self._forget(row)
                raise
            now = self._clock.now()
            with writing(self._engine) as session:
                session.execute(
                    update(UploadRow)
                    .where(UploadRow.upload_id == row.upload_id)
                    .values(image_digest=digest, touched_at=now, finished_at=now)
                )
            file.unlink(missing_ok=True)
        return self.get(row.upload_id, None)

    def _handed_over(self, file: Path, row: UploadRow) -> bytes | None:
        """The digest of the image that it is, if it is one."""
        if row.vnf_package_id is not None:
            self._packages.take(row.vnf_package_id, file)
            return None
        return self._catalogue.adopt(file, row.name, row.project).digest

    def give_up(self, row: UploadRow) -> None:
        """Throw it away. What it became stays."""
        desk = self._desk(row.upload_id)
        with desk.lock:
            desk.holder = None
            self._forget(self.get(row.upload_id, None))

    def settle(self) -> None:
        """Call at start: files that nobody knows of go, and packages wait for nothing else."""
        with reading(self._engine) as session:
            open_ones = session.execute(
                select(UploadRow.upload_id, UploadRow.vnf_package_id).where(
                    UploadRow.finished_at.is_(None)
                )
            ).all()
        known = {str(upload_id) for upload_id, _ in open_ones}
        if self._contents is not None:
            self._contents.settle({package for _, package in open_ones if package is not None})
        for file in self._folder.iterdir():
            if file.name not in known:
                file.unlink(missing_ok=True)

    def expire(self) -> int:
        """Throw away what nobody went on with for `keep_s`; returns how many."""
        oldest = self._clock.now() - timedelta(seconds=self._limits.keep_s)
        with reading(self._engine) as session:
            old = list(
                session.scalars(select(UploadRow.upload_id).where(UploadRow.touched_at <= oldest))
            )
        return sum(self._expire(upload_id, oldest) for upload_id in old)

    # --- inside -----------------------------------------------------------------------------------

    def _check_limits(self, unfinished: list[UploadRow], size_bytes: int) -> None:
        limits = self._limits
        if len(unfinished) >= limits.most_per_person:
            why = f"You have {len(unfinished)} uploads open, the most allowed."
        elif sum(row.size for row in unfinished) + size_bytes > limits.most_bytes_per_person:
            why = f"Your open uploads would hold more than {limits.most_bytes_per_person} bytes."
        else:
            return
        raise UploadLimitError(why, next_step="Finish one of them, or throw it away.")

    def _expire(self, upload_id: UUID, oldest: datetime) -> bool:
        desk = self._desk(upload_id)
        with desk.lock:
            with reading(self._engine) as session:
                row = session.get(UploadRow, upload_id)
                session.expunge_all()
            if row is None or row.touched_at > oldest or desk.holder is not None:
                return False  # somebody was quicker, or is at work on it
            self._forget(row)
        return True

    def _touch(self, upload_id: UUID) -> None:
        with writing(self._engine) as session:
            session.execute(
                update(UploadRow)
                .where(UploadRow.upload_id == upload_id)
                .values(touched_at=self._clock.now())
            )

    def _desk(self, upload_id: UUID) -> Desk:
        with self._lock:
            return self._desks.setdefault(upload_id, Desk())

    def _file(self, upload_id: UUID) -> Path:
        return self._folder / str(upload_id)

    def _forget(self, row: UploadRow) -> None:
        with writing(self._engine) as session:
            session.execute(delete(UploadRow).where(UploadRow.upload_id == row.upload_id))
        self._file(row.upload_id).unlink(missing_ok=True)
        with self._lock:
            self._desks.pop(row.upload_id, None)
        if row.vnf_package_id is not None and row.finished_at is None:
            self._packages.expect_no_more(row.vnf_package_id)


def _check_digests(file: Path, row: UploadRow) -> None:
    found: dict[str, tuple[bytes, bytes]] = {}
    if row.sha256 is not None:
        with file.open("rb") as content:
            found["SHA-256"] = (row.sha256, hashlib.file_digest(content, "sha256").digest())
    if row.blake3 is not None:
        hasher = blake3(max_threads=blake3.AUTO).update_mmap(file)
        found["BLAKE3"] = (row.blake3, hasher.digest())
    for kind, (announced, true) in found.items():
        if announced != true:
            raise UploadDamagedError(
                f"The {kind} digest of what came is {true.hex()}, announced was {announced.hex()}.",
                next_step="Check the file, then upload it again.",
            )
