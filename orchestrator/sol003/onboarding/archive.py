"""The zip file of a package. Nothing of it is ever unpacked under a name that it chose."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from orchestrator.sol003.errors import PackageRefusedError

_MAGIC = b"PK\x03\x04"
_PIECE_BYTES = 1024 * 1024
_DIRECTORY_BYTES = 4 * 1024 * 1024
_MEMBERS_MAX = 2048
_NAME_MAX = 255
_DOCUMENT_BYTES = 256 * 1024
_RATIO_MAX = 200
_RATIO_FREE_BYTES = 64 * 1024 * 1024
"""So much may come of however little: small files of zeros hurt nobody."""
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile and zlib raise for bytes that are none of theirs.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError)


def is_zip(file: Path) -> bool:
    with file.open("rb") as handle:
        return handle.read(len(_MAGIC)) == _MAGIC


class _LimitedReads(io.FileIO):
    """A file for zipfile, which reads the whole list of members at once however long it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > _DIRECTORY_BYTES:
            raise zipfile.BadZipFile("its list of members is longer than any is")
        return super().read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Where a damaged archive points outside of itself, the disk is not at fault."""
        try:
            return super().seek(offset, whence)
        except (OSError, OverflowError) as error:
            raise zipfile.BadZipFile("it points outside of itself") from error


class PackageArchive:
    """An open archive whose members were all looked at. Not thread-safe."""

    def __init__(self, archive: zipfile.ZipFile, file_bytes: int, max_bytes: int) -> None:
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        infos = archive.infolist()
        if len(infos) > _MEMBERS_MAX:
            raise refused(f"The archive has more than {_MEMBERS_MAX} members.")
        seen: set[str] = set()
        for info in infos:
            _check(info)
            name = info.filename.rstrip("/")
            if name.casefold() in seen:
                raise refused(f"The archive has two members {name!r}.")
            seen.add(name.casefold())
            if not info.is_dir():
                self._members[name] = info
        _check_sizes(infos, file_bytes, max_bytes)

    @property
    def names(self) -> list[str]:
        """Its files."""
        return list(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        return self._members[name].file_size

    def document(self, name: str) -> str:
        """A small text. Raises PackageRefusedError."""
        if name not in self._members:
            raise refused(f"The archive has no file {name}.")
        if self.size(name) > _DOCUMENT_BYTES:
            raise refused(f"{name} has more than {_DOCUMENT_BYTES} bytes.")
        try:
            return b"".join(self.pieces(name)).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise refused(f"{name} is no text in UTF-8.") from error

    def pieces(self, name: str) -> Iterator[bytes]:
        """The content. Raises PackageRefusedError where it is damaged."""
        try:
            with self._archive.open(self._members[name]) as member:
                while piece := member.read(_PIECE_BYTES):
                    yield piece
        except _UNREADABLE as error:
            raise refused(f"{name} cannot be read: {error}.") from error

    def digest(self, name: str, algorithm: str) -> str:
        """Of the content, by an algorithm that hashlib knows."""
        hasher = hashlib.new(algorithm)
        for piece in self.pieces(name):
            hasher.update(piece)
        return hasher.hexdigest()


@contextmanager
def open_archive(file: Path, *, max_bytes: int) -> Iterator[PackageArchive]:
    """`max_bytes` bounds what all members have unpacked. Raises PackageRefusedError."""
    with _LimitedReads(file) as limited:
        try:
            archive = zipfile.ZipFile(cast("IO[bytes]", limited))
        except _UNREADABLE as error:
            raise refused(f"The zip archive cannot be read: {error}.") from error
        with archive:
            yield PackageArchive(archive, file.stat().st_size, max_bytes)


def refused(
    why: str, next_step: str = "Correct the package, then upload it again."
) -> PackageRefusedError:
    return PackageRefusedError(why, next_step=next_step)


def _check(info: zipfile.ZipInfo) -> None:
    # As it stands in the archive, and as zipfile reads it: the one may hide what the other is.
    for name in (info.orig_filename, info.filename):
        _check_name(name)
    shown = repr(info.filename[:80])
    if info.flag_bits & _ENCRYPTED:
        raise refused(f"The member {shown} is encrypted.", "Pack it without a password.")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refused(f"The member {shown} is neither a file nor a folder.")
    if info.compress_type not in _METHODS:
        raise refused(
            f"The member {shown} is packed by a method that is not read here.",
            "Pack it with deflate, or store it.",
        )


def _check_name(name: str) -> None:
    shown = repr(name[:80])
    parts = name.removesuffix("/").split("/")
    if len(name) > _NAME_MAX or any(ord(c) < 32 or c in "\\:" for c in name):
        raise refused(f"The archive has a member {shown}, which is no name for one.")
    if any(part in ("", ".", "..") for part in parts):
        raise refused(f"The archive has a member {shown}, which leads out of it.")


def _check_sizes(infos: list[zipfile.ZipInfo], file_bytes: int, max_bytes: int) -> None:
    packed = sum(info.compress_size for info in infos)
    unpacked = sum(info.file_size for info in infos)
    if packed > file_bytes:
        raise refused("The members of the archive lie over each other.")
    if unpacked > max_bytes:
        raise refused(
            f"The archive unpacks to more than {max_bytes} bytes.",
            "Send a smaller one, or raise max_image_bytes.",
        )
    if unpacked > _RATIO_FREE_BYTES and unpacked > _RATIO_MAX * max(packed, 1):
        raise refused(
            f"The archive unpacks to more than {_RATIO_MAX} times its size.",
            "Store large empty disks as qcow2 instead.",
        )
