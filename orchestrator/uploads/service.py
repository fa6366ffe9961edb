"""Takes images in piece by piece, over as many connections as it needs."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from io import FileIO
from pathlib import Path
from uuid import UUID, uuid4

from blake3 import blake3
from sqlalchemy import Engine, delete, select, update

from database import reading, writing
from orchestrator.catalogue.catalogue import Catalogue, check_name
from orchestrator.errors import ImageRefusedError
from orchestrator.settings import UploadsTable
from orchestrator.uploads.errors import (
    UnknownUploadError,
    UploadLimitError,
    UploadOffsetError,
    UploadTooLargeError,
)
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


@dataclass
class _Desk:
    """Where one upload is worked on: by the newest of its connections alone."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    holder: Receiver | None = None


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
        self._desks: dict[UUID, _Desk] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, owner: str, announced: Announced) -> UploadRow:
        """Raises ImageRefusedError, UploadTooLargeError, UploadLimitError, UnknownProjectError or
        ProjectChoiceError."""
        check_name(announced.name)
        if announced.size_bytes > self._max_image_bytes:
            raise UploadTooLargeError(
                f"The image is larger than {self._max_image_bytes} bytes.",
                next_step="Add a smaller image, or raise max_image_bytes.",
            )
        self.expire()
        now = self._clock.now()
        row = UploadRow(
            upload_id=uuid4(),
            owner=owner,
            name=announced.name,
            size=announced.size_bytes,
            sha256=announced.sha256,
            blake3=announced.blake3,
            project=self._catalogue.chosen_project(announced.project),
            created_at=now,
            touched_at=now,
            image_digest=None,
        )
        with self._lock, writing(self._engine) as session:
            unfinished = select(UploadRow).where(
                UploadRow.owner == owner, UploadRow.image_digest.is_(None)
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
                .where(UploadRow.owner == owner, UploadRow.image_digest.is_(None))
                .order_by(UploadRow.created_at.desc())
            ).all()
            session.expunge_all()
            return list(rows)

    def offset(self, row: UploadRow) -> int:
        """How many bytes are here."""
        if row.image_digest is not None:
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
            if row.image_digest is None:
                self._touch(row.upload_id)
            touch = partial(self._touch, row.upload_id)
            desk.holder = Receiver(desk, self._file(row.upload_id), row, here, touch)
            return desk.holder

    def finish(self, row: UploadRow) -> UploadRow:
        """Add the whole file to the catalogue, once. Nothing happens while bytes are missing.

        Raises ImageRefusedError; the upload is thrown away with it if its content is at fault.
        """
        with self._desk(row.upload_id).lock:
            row = self.get(row.upload_id, None)
            if row.image_digest is not None or self.offset(row) < row.size:
                return row
            file = self._file(row.upload_id)
            try:
                _check_digests(file, row)
                image = self._catalogue.adopt(file, row.name, row.project)
            except ImageRefusedError as error:
                if not isinstance(error.__cause__, OSError):  # else the disk, not the content
                    self._forget(row.upload_id)
                raise
            with writing(self._engine) as session:
                session.execute(
                    update(UploadRow)
                    .where(UploadRow.upload_id == row.upload_id)
                    .values(image_digest=image.digest, touched_at=self._clock.now())
                )
            file.unlink(missing_ok=True)
        return self.get(row.upload_id, None)

    def give_up(self, row: UploadRow) -> None:
        """Throw it away. An image that it became stays."""
        desk = self._desk(row.upload_id)
        with desk.lock:
            desk.holder = None
            self._forget(row.upload_id)

    def settle(self) -> None:
        """Call at start: files that nobody knows of go."""
        with reading(self._engine) as session:
            known = {
                str(upload_id)
                for upload_id in session.scalars(
                    select(UploadRow.upload_id).where(UploadRow.image_digest.is_(None))
                )
            }
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
                abandoned = row is not None and row.touched_at <= oldest
            if not abandoned or desk.holder is not None:
                return False  # somebody was quicker, or is at work on it
            self._forget(upload_id)
        return True

    def _touch(self, upload_id: UUID) -> None:
        with writing(self._engine) as session:
            session.execute(
                update(UploadRow)
                .where(UploadRow.upload_id == upload_id)
                .values(touched_at=self._clock.now())
            )

    def _desk(self, upload_id: UUID) -> _Desk:
        with self._lock:
            return self._desks.setdefault(upload_id, _Desk())

    def _file(self, upload_id: UUID) -> Path:
        return self._folder / str(upload_id)

    def _forget(self, upload_id: UUID) -> None:
        with writing(self._engine) as session:
            session.execute(delete(UploadRow).where(UploadRow.upload_id == upload_id))
        self._file(upload_id).unlink(missing_ok=True)
        with self._lock:
            self._desks.pop(upload_id, None)


class Receiver:
    """One connection's bytes of an upload; `close` it in any case."""

    def __init__(
        self, desk: _Desk, file: Path, row: UploadRow, offset: int, touch: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._touch = touch
        self._path = file
        self._file: FileIO | None = None
        self._size = row.size
        self.offset = offset

    def write(self, piece: bytes) -> None:
        """Raises UploadTooLargeError, UploadOffsetError where somebody else took over, and
        ImageRefusedError where the disk does."""
        if self.offset + len(piece) > self._size:
            raise UploadTooLargeError(
                f"More bytes come than the {self._size} that were announced.",
                next_step="Begin a new upload, with the size of the file as it is now.",
            )
        if not piece:  # asking again for the end: no file comes back that is in the catalogue
            return
        with self._desk.lock:
            if self._desk.holder is not self:
                raise UploadOffsetError(
                    "The upload goes on over another connection.",
                    next_step="Leave this one; HEAD tells how far it is.",
                )
            try:
                if self._file is None:
                    self._file = self._path.open("ab", buffering=0)
                rest = memoryview(piece)
                while rest:
                    written = self._file.write(rest)
                    self.offset += written
                    rest = rest[written:]
            except OSError as error:
                raise ImageRefusedError(
                    f"The upload cannot be stored: {error.strerror or error}.",
                    next_step="Free space on the catalogue's disk, then go on.",
                ) from error

    def close(self) -> None:
        """What was written survives a crash from now on, and is kept its full time."""
        try:
            if self._file is not None:
                with self._file:
                    os.fsync(self._file.fileno())
        finally:
            with self._desk.lock:
                if self._desk.holder is self:
                    self._desk.holder = None
                    self._touch()


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
            raise ImageRefusedError(
                f"The {kind} digest of what came is {true.hex()}, announced was {announced.hex()}.",
                next_step="Check the file, then upload it again.",
            )
