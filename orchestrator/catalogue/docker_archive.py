"""docker-save archives: checked, and brought into one form when they enter the catalogue.

The form is `nfv_stack.contract.normal_archive`. The same image so always has the same bytes, its
id at the engine is known beforehand (SHA-256 of the config, which names the digest of every
layer), and a tag can never take an image of the receiver over.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from nfv_stack.contract.normal_archive import (
    BLOCK_BYTES,
    ID_PREFIX,
    JSON_MAX_BYTES,
    MANIFEST_NAME,
    config_name,
    is_image_id,
    layer_name,
    manifest,
    member,
)
from orchestrator.errors import ImageRefusedError

_PIECE_BYTES = 1024 * 1024
_MEMBERS_MAX = 4096
_LINKS_MAX = 8
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# What tarfile, gzip and zlib raise for bytes that are none of theirs.
_UNREADABLE = (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError)
_NEXT = "Make the archive with `docker save IMAGE -o FILE` and add it again."


@dataclass(frozen=True)
class DockerImage:
    """What an archive holds."""

    image_id: str
    """`sha256:...` of the config: the id that a Docker engine gives the image."""
    tags: tuple[str, ...]
    layers: int


def is_tar(file: Path) -> bool:
    """Whether the file begins like a tar archive, gzipped or not."""
    with file.open("rb") as handle:
        head = handle.read(512)
    if head[:2] == _GZIP_MAGIC:
        return True
    return head[257:262] == b"ustar" or (len(head) == 512 and _is_old_tar_header(head))


def _is_old_tar_header(head: bytes) -> bool:
    try:
        return bool(
            tarfile.calc_chksums(head)[0] == tarfile.nti(head[148:156])  # type: ignore[attr-defined]
        )
    except tarfile.TarError:
        return False


def normalise(source: Path, target: Path, *, max_bytes: int) -> DockerImage:
    """Check the archive in `source` and write its normal form to `target`.

    `max_bytes` bounds the unpacked size. Raises ImageRefusedError with the reason.
    """
    plain = source.with_suffix(".plain")
    try:
        with source.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
        if packed:
            # Once, whole and bounded: a packed tar would be unpacked again for each member.
            _unpack(source, plain, max_bytes)
        with (
            _LimitedReads(plain if packed else source) as file,
            tarfile.open(fileobj=cast("IO[bytes]", file), mode="r:") as archive,
        ):
            return _Archive(archive, max_bytes).write_normal(target)
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ImageRefusedError(
            f"The archive cannot be read to its end: {error}. It is damaged or truncated.",
            next_step=_NEXT,
        ) from error
    finally:
        plain.unlink(missing_ok=True)


def _unpack(source: Path, plain: Path, max_bytes: int) -> None:
    with gzip.open(source, "rb") as packed, plain.open("wb") as file:
        left = max_bytes
        while piece := packed.read(_PIECE_BYTES):
            left -= len(piece)
            if left < 0:
                raise _too_large()
            file.write(piece)


class _LimitedReads(io.FileIO):
    """A file for tarfile, which reads a long name or extended header at once however long it says
    that it is; no honest one is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= JSON_MAX_BYTES:
            raise tarfile.ReadError("a header says that it is larger than any is")
        return super().read(size)


class _Archive:
    """An open docker-save archive, in the form of any engine version."""

    def __init__(self, archive: tarfile.TarFile, max_bytes: int) -> None:
        self._archive = archive
        self._left = max_bytes
        self._members: dict[str, tarfile.TarInfo] = {}
        total = 0
        for count, found in enumerate(archive):
            if count >= _MEMBERS_MAX:
                raise _refused(f"the archive has more than {_MEMBERS_MAX} members")
            if found.size < 0:
                raise _refused(f"the member {found.name[:80]!r} has a negative size")
            total += found.size
            if total > max_bytes:
                raise _too_large()
            name = _safe_name(found.name)
            if name in self._members and not found.isdir():
                raise _refused(f"it has two members {name[:80]!r}")
            self._members[name] = found
        self._check_end()

    def _check_end(self) -> None:
        """tarfile takes any end at a member's boundary; a whole archive says that it ends."""
        file = self._archive.fileobj
        assert file is not None
        file.seek(self._archive.offset)
        if file.read(BLOCK_BYTES) != bytes(BLOCK_BYTES):
            raise _refused("it stops without its end; it is truncated")

    def write_normal(self, target: Path) -> DockerImage:
        entry = self._manifest()
        config = self._read(str(entry.get("Config")), JSON_MAX_BYTES)
        diff_ids = _diff_ids(config)
        layer_names = entry.get("Layers")
        if not isinstance(layer_names, list) or len(layer_names) != len(diff_ids):
            raise _refused("manifest.json and the config name different numbers of layers")
        image_id = f"{ID_PREFIX}{hashlib.sha256(config).hexdigest()}"
        with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as normal:
            _add(normal, MANIFEST_NAME, manifest(image_id, diff_ids))
            _add(normal, config_name(image_id), config)
            written: set[str] = set()
            for name, diff_id in zip(layer_names, diff_ids, strict=True):
                if diff_id not in written:
                    self._copy_layer(str(name), diff_id, normal, target.with_suffix(".layer"))
                    written.add(diff_id)
        return DockerImage(image_id, _tags(entry), len(diff_ids))

    def _manifest(self) -> dict[str, Any]:
        if "manifest.json" not in self._members:
            raise _refused("the archive has no manifest.json, so it is no docker-save archive")
        entries = _json(self._read("manifest.json", JSON_MAX_BYTES), "manifest.json")
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise _refused("manifest.json is not a list of images")
        if len(entries) != 1:
            raise ImageRefusedError(
                f"The archive holds {len(entries)} images; a VNF image is exactly one.",
                next_step="Save the images one by one and add each.",
            )
        return cast("dict[str, Any]", entries[0])

    def _copy_layer(self, name: str, diff_id: str, normal: tarfile.TarFile, spool: Path) -> None:
        digest = hashlib.sha256()
        try:
            with spool.open("wb") as file:
                for piece in self._layer_bytes(name):
                    digest.update(piece)
                    file.write(piece)
            if f"sha256:{digest.hexdigest()}" != diff_id:
                raise _refused(
                    f"layer {name} does not have the digest that the config names ({diff_id}); "
                    "the archive was altered or damaged"
                )
            with spool.open("rb") as file:
                normal.addfile(member(layer_name(diff_id), spool.stat().st_size), file)
        finally:
            spool.unlink(missing_ok=True)

    def _layer_bytes(self, name: str) -> Iterator[bytes]:
        """The layer's bytes, unpacked if it is gzipped (newer engines save it so)."""
        with self._open(name) as raw:
            magic = raw.read(4)
            if magic == _ZSTD_MAGIC:
                raise _refused(
                    f"layer {name} is packed with Zstandard, which docker-save archives are not; "
                    "save it with an engine that keeps no containerd image store"
                )
            raw.seek(0)
            packed = magic[:2] == _GZIP_MAGIC
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
            while piece := stream.read(_PIECE_BYTES):
                self._left -= len(piece)
                if self._left < 0:
                    raise _too_large()
                yield piece

    def _read(self, name: str, max_bytes: int) -> bytes:
        with self._open(name) as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise _refused(f"{name} has more than {max_bytes} bytes")
        return content

    def _open(self, name: str) -> IO[bytes]:
        """A plain file of the archive; older engines save a repeated layer as a link to it."""
        for _ in range(_LINKS_MAX):
            found = self._members.get(_safe_name(name))
            if found is None:
                raise _refused(f"{name[:80]} is missing")
            if found.isfile():
                file = self._archive.extractfile(found)
                assert file is not None
                return file
            if found.issym():
                name = _join(PurePosixPath(found.name).parent, found.linkname)
            elif found.islnk():
                name = found.linkname
            else:
                raise _refused(f"{name[:80]} is not a plain file")
        raise _refused(f"{name[:80]} is a chain of links")


def _safe_name(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise _refused(f"the member {name[:80]!r} points outside the archive")
    return str(path)


def _join(folder: PurePosixPath, link: str) -> str:
    """Resolve a link inside the archive; one that leaves it is refused."""
    parts = list(folder.parts)
    for part in PurePosixPath(link).parts:
        if part == "..":
            if not parts:
                raise _refused(f"the link to {link[:80]!r} leaves the archive")
            parts.pop()
        elif part != "/":
            parts.append(part)
        else:
            raise _refused(f"the link to {link[:80]!r} leaves the archive")
    return "/".join(parts)


def _diff_ids(config: bytes) -> list[str]:
    document = _json(config, "the image's config")
    rootfs = document.get("rootfs") if isinstance(document, dict) else None
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(
        isinstance(diff_id, str) and is_image_id(diff_id) for diff_id in diff_ids
    ):
        raise _refused("the image's config does not name the digests of its layers")
    return diff_ids


def _tags(entry: dict[str, Any]) -> tuple[str, ...]:
    tags = entry.get("RepoTags") or []
    if not isinstance(tags, list):
        raise _refused("manifest.json does not list its tags")
    return tuple(str(tag) for tag in tags)


def _json(content: bytes, what: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _refused(f"{what} is not JSON") from error


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(member(name, len(content)), io.BytesIO(content))


def _refused(why: str) -> ImageRefusedError:
    return ImageRefusedError(f"This is no usable docker-save archive: {why}.", next_step=_NEXT)


def _too_large() -> ImageRefusedError:
    return ImageRefusedError(
        "The unpacked image is larger than the catalogue takes.",
        next_step="Add a smaller image, or raise catalogue.max_image_bytes.",
    )
