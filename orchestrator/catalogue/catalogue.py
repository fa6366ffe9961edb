"""The image catalogue: files named by the BLAKE3 digest of their content, one row each."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from blake3 import blake3
from sqlalchemy import Engine, Select, select
from sqlalchemy.orm import Session

from database import reading, writing
from nfv_stack.contract.schemas import ImageFormat
from orchestrator.accounts.identity import asked_by
from orchestrator.catalogue.disk_image import disk_format
from orchestrator.catalogue.docker_archive import is_tar, normalise
from orchestrator.catalogue.incoming import Incoming
from orchestrator.errors import ImageInUseError, ImageRefusedError, UnknownImageError
from orchestrator.projects.ownership import Kind, NoProjects, Ownership
from orchestrator.store.tables import ImageRow
from timekeeping import Clock

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{12,64}")
_DIGEST_CHARS = 64
OnAdd = Callable[[Session, bytes, str], None]
"""Gets the transaction, the image's digest and the project that added it."""


class Catalogue:
    """Thread-safe. Nothing appears in it before it was checked whole."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        clock: Clock,
        *,
        max_image_bytes: int,
        ownership: Ownership | None = None,
        one_at_a_time: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        """`one_at_a_time` keeps apart the processes that share a folder."""
        self._engine = engine
        self._ownership = ownership or NoProjects()
        self._images = folder / "images"
        self._incoming = Incoming(folder / "incoming")
        self._clock = clock
        self._max_image_bytes = max_image_bytes
        self._tell: list[OnAdd] = []
        self._threads = threading.Lock()
        self._one_at_a_time = one_at_a_time or nullcontext
        self._images.mkdir(parents=True, exist_ok=True)
        # Names of files that come or go, so that no other file is ever taken for left over.
        self._changes = folder / "changing"
        self._changes.mkdir(parents=True, exist_ok=True)

    def settle(self) -> None:
        """Call at start: a crash may have come between a file's coming or going and its row's."""
        for change in list(self._changes.iterdir()):
            digest = bytes.fromhex(change.name)
            with self._changing(digest), reading(self._engine) as session:
                if session.get(ImageRow, digest) is None:
                    self.file(digest).unlink(missing_ok=True)

    def add(self, chunks: Iterable[bytes], name: str, project: str | None = None) -> ImageRow:
        """Take an image in; adding the same content again answers what is there.

        `project` owns it then, besides those that do already. Raises ImageRefusedError with the
        reason, and keeps nothing then; UnknownProjectError or ProjectChoiceError.
        """
        return self._add(lambda raw: self._store(chunks, raw), name, project)

    def adopt(
        self, file: Path, name: str, project: str | None = None, *, of_package: bool = False
    ) -> ImageRow:
        """Like `add`, of a whole file on the same disk. It is linked, not copied: nobody may write
        to it any more. The caller removes it. `of_package`: the project did not add it by itself.
        """
        return self._add(lambda raw: raw.hardlink_to(file), name, project, of_package=of_package)

    def on_add(self, tell: OnAdd) -> None:
        """Tell of each image that a project adds by itself, within that transaction."""
        self._tell.append(tell)

    def _add(
        self,
        put: Callable[[Path], None],
        name: str,
        project: str | None,
        *,
        of_package: bool = False,
    ) -> ImageRow:
        check_name(name)
        owner = self._ownership.choose(project)
        try:
            with self._incoming.files() as (raw, normal):
                put(raw)
                image_format, vim_image_id = self._take_in(raw, normal)
                digest = _digest(normal)
                row = ImageRow(
                    digest=digest,
                    name=name,
                    format=image_format.value,
                    size=normal.stat().st_size,
                    vim_image_id=vim_image_id or f"blake3:{digest.hex()}",
                    added_at=self._clock.now(),
                )
                return self._keep(normal, row, owner, () if of_package else self._tell)
        except OSError as error:
            raise ImageRefusedError(
                f"The image cannot be stored: {error.strerror or error}.",
                next_step="Free space on the catalogue's disk, then add it again.",
            ) from error

    def _keep(self, file: Path, row: ImageRow, owner: str, tell: Iterable[OnAdd]) -> ImageRow:
        """Move a checked file to its place, and record it; the same content may be here already."""
        digest = row.digest
        with self._changing(digest):
            file.replace(self.file(digest))
            with writing(self._engine) as session:
                # Locked, so that a deployment which begins to own it now comes before or after.
                stored = session.get(ImageRow, digest, with_for_update=True)
                if stored is None:
                    session.add(row)
                    session.flush()
                was_there = stored is not None
                self._ownership.own(
                    session, Kind.IMAGE, digest, owner, name=row.name, was_there=was_there
                )
                for each in tell:
                    each(session, digest, owner)
        (kept,) = self._named([stored or row])
        return kept

    def get(self, reference: str) -> ImageRow:
        """The image with this digest, the newest of this name, or the one whose digest begins so
        (at least 12 hex digits)."""
        row = self._by_digest(reference) if len(reference) == _DIGEST_CHARS else None
        row = row or self._by_name(reference) or self._by_digest(reference)
        if row is None:
            raise UnknownImageError(
                f"The catalogue has no image {reference}.",
                next_step="List the images with `qnfv image list`, or add one with "
                "`qnfv image add FILE`.",
            )
        return row

    def find(self, digest: bytes) -> ImageRow | None:
        """None where the catalogue has no such image that who asks may know of."""
        return next(iter(self._rows(self._newest_first().where(ImageRow.digest == digest))), None)

    def all(self) -> list[ImageRow]:
        """Newest first."""
        return self._rows(self._newest_first())

    def owners_of(self, digests: Iterable[bytes]) -> dict[bytes, list[str]]:
        """The projects of each image that who asks may know of."""
        return self._ownership.owners_of(Kind.IMAGE, digests)

    def chosen_project(self, project: str | None) -> str:
        """Whose something new will be. Raises UnknownProjectError or ProjectChoiceError."""
        return self._ownership.choose(project)

    def _newest_first(self) -> Select[ImageRow]:
        """What who asks may see."""
        seen = self._ownership.among(Kind.IMAGE, ImageRow.__table__.c.digest)
        return select(ImageRow).where(seen).order_by(ImageRow.added_at.desc())

    def _by_name(self, name: str) -> ImageRow | None:
        columns = ImageRow.__table__.c
        called = self._ownership.called(Kind.IMAGE, columns.digest, name, at_first=columns.name)
        rows = self._rows(self._newest_first().where(called).limit(1))
        for row in rows:
            row.name = name  # projects of who asks may call it differently
        return next(iter(rows), None)

    def _by_digest(self, beginning: str) -> ImageRow | None:
        if not _DIGEST.fullmatch(beginning):
            return None
        first, last = (bytes.fromhex(beginning.ljust(_DIGEST_CHARS, fill)) for fill in "0f")
        rows = self._rows(self._newest_first().where(ImageRow.digest.between(first, last)).limit(2))
        return rows[0] if len(rows) == 1 else None

    def _rows(self, query: Select[ImageRow]) -> list[ImageRow]:
        with reading(self._engine) as session:
            rows = list(session.scalars(query))
            session.expunge_all()
        return self._named(rows)

    def _named(self, rows: list[ImageRow]) -> list[ImageRow]:
        """With the names that the projects of who asks gave them: others' tell him nothing."""
        names = self._ownership.names(Kind.IMAGE, [row.digest for row in rows])
        for row in rows:
            row.name = names.get(row.digest, row.name)
        return rows

    def remove(
        self,
        reference: str,
        *,
        users: Callable[[bytes], int],
        packages: Callable[[bytes], int] | None = None,
    ) -> None:
        """Remove an image that no deployment needs and no VNF package has; it stays for other
        projects that own it.

        Raises ImageInUseError.
        """
        row = self.get(reference)
        with self._changing(row.digest):
            with writing(self._engine) as session:
                # Locked before counting: a deployment that begins now locks the row as well.
                stored = session.get(ImageRow, row.digest, with_for_update=True)
                is_nobodys = self._ownership.disown(session, Kind.IMAGE, row.digest)
                # Who owns it beside others has to do with the uses alone that he knows of.
                with asked_by(None) if is_nobodys else nullcontext():
                    _refuse_in_use(row, users, packages)
                if stored is not None and is_nobodys:
                    session.delete(stored)
            if is_nobodys:
                self.file(row.digest).unlink(missing_ok=True)

    def file(self, digest: bytes) -> Path:
        """Where the content of an image lies."""
        return self._images / digest.hex()

    # --- inside -----------------------------------------------------------------------------------

    @contextmanager
    def _changing(self, digest: bytes) -> Iterator[None]:
        """A file and its row come and go together: inside, nobody else changes either. What does
        not come to its end is settled at the next start."""
        change = self._changes / digest.hex()
        with self._threads, self._one_at_a_time():
            change.touch()
            yield
            change.unlink(missing_ok=True)

    def _store(self, chunks: Iterable[bytes], raw: Path) -> None:
        size = 0
        with raw.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > self._max_image_bytes:
                    raise ImageRefusedError(
                        f"The image is larger than {self._max_image_bytes} bytes.",
                        next_step="Add a smaller image, or raise catalogue.max_image_bytes.",
                    )
                file.write(chunk)
        if size == 0:
            raise ImageRefusedError(
                "The image is empty.", next_step="Check the file, then add it again."
            )

    def _take_in(self, raw: Path, normal: Path) -> tuple[ImageFormat, str | None]:
        found = disk_format(raw)
        if found is not None:
            raw.replace(normal)
            return found, None
        if is_tar(raw):
            image = normalise(raw, normal, max_bytes=self._max_image_bytes)
            return ImageFormat.DOCKER_ARCHIVE, image.image_id
        raise ImageRefusedError(
            "This is neither a docker-save archive nor a disk of a virtual machine.",
            next_step="Add a file made with `docker save`, or a qcow2 or raw disk.",
        )


def _refuse_in_use(
    row: ImageRow,
    users: Callable[[bytes], int],
    packages: Callable[[bytes], int] | None,
) -> None:
    count = users(row.digest)
    if count:
        raise ImageInUseError(
            f"{row.name} is used by {count} deployment(s).",
            next_step="Remove those first; `qnfv vnf list` shows them.",
            deployments=count,
        )
    if packages is not None and (count := packages(row.digest)):
        raise ImageInUseError(
            f"{row.name} is the image of {count} VNF package(s).",
            next_step="Delete those first; `qnfv package list` shows them.",
            packages=count,
        )


def check_name(name: str) -> None:
    """Raises ImageRefusedError where an image cannot be called that."""
    if not _NAME.fullmatch(name):
        raise ImageRefusedError(
            f"{name!r} is no name for an image.",
            next_step="Use letters, digits, dots, hyphens and underscores, at most 64.",
        )


def _digest(file: Path) -> bytes:
    hasher = blake3(max_threads=blake3.AUTO)
    hasher.update_mmap(file)
    return hasher.digest()
