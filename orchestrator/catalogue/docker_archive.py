"""docker-save archives: checked, and brought into one form when they enter the catalogue.

The form: an uncompressed tar whose members are `manifest.json` (one image, no tag), the config
under its digest, and each layer under the digest of its content; plain files only, fixed order,
times and owners. The same image so always has the same bytes, its id at the engine is known
beforehand (SHA-256 of the config, which names the digest of every layer), and a tag can never take
an image of the receiver over.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from orchestrator.errors import ImageRefusedError

_JSON_MAX_BYTES = 8 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_MEMBERS_MAX = 4096
_LINKS_MAX = 8
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
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
    if head[:2] == b"\x1f\x8b":
        return True
    return head[257:262] == b"ustar" or (len(head) == 512 and _is_old_tar_header(head))


def _is_old_tar_header(head: bytes) -> bool:
    try:
        return tarfile.calc_chksums(head)[0] == tarfile.nti(head[148:156])  # type: ignore[attr-defined]
    except tarfile.TarError:
        return False


def normalise(source: Path, target: Path, *, max_bytes: int) -> DockerImage:
    """Check the archive in `source` and write its normal form to `target`.

    `max_bytes` bounds the unpacked size. Raises ImageRefusedError with the reason.
    """
    try:
        with tarfile.open(source, "r:*") as archive:
            return _Archive(archive, max_bytes).write_normal(target)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ImageRefusedError(
            f"The archive cannot be read to its end: {error}. It is damaged or truncated.",
            next_step=_NEXT,
        ) from error


class _Archive:
    """An open docker-save archive, in the form of any engine version."""

    def __init__(self, archive: tarfile.TarFile, max_bytes: int) -> None:
        self._archive = archive
        self._left = max_bytes
        self._members: dict[str, tarfile.TarInfo] = {}
        for count, member in enumerate(archive):
            if count >= _MEMBERS_MAX:
                raise _refused(f"the archive has more than {_MEMBERS_MAX} members")
            self._members[_safe_name(member.name)] = member

    def write_normal(self, target: Path) -> DockerImage:
        manifest = self._manifest()
        config = self._read(str(manifest.get("Config")), _JSON_MAX_BYTES)
        diff_ids = _diff_ids(config)
        layer_names = manifest.get("Layers")
        if not isinstance(layer_names, list) or len(layer_names) != len(diff_ids):
            raise _refused("manifest.json and the config name different numbers of layers")
        image_id = f"sha256:{hashlib.sha256(config).hexdigest()}"
        with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as normal:
            _add(normal, "manifest.json", _normal_manifest(image_id, diff_ids))
            _add(normal, f"{image_id.removeprefix('sha256:')}.json", config)
            written: set[str] = set()
            for name, diff_id in zip(layer_names, diff_ids, strict=True):
                if diff_id not in written:
                    self._copy_layer(str(name), diff_id, normal, target.with_suffix(".layer"))
                    written.add(diff_id)
        tags = manifest.get("RepoTags") or []
        return DockerImage(image_id, tuple(str(tag) for tag in tags), len(diff_ids))

    def _manifest(self) -> dict[str, Any]:
        if "manifest.json" not in self._members:
            raise _refused("the archive has no manifest.json, so it is no docker-save archive")
        entries = _json(self._read("manifest.json", _JSON_MAX_BYTES), "manifest.json")
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
            info = _info(f"{diff_id.removeprefix('sha256:')}/layer.tar", spool.stat().st_size)
            with spool.open("rb") as file:
                normal.addfile(info, file)
        finally:
            spool.unlink(missing_ok=True)

    def _layer_bytes(self, name: str) -> Iterator[bytes]:
        """The layer's bytes, unpacked if it is gzipped (newer engines save it so)."""
        with self._open(name) as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
            while piece := stream.read(_PIECE_BYTES):
                self._left -= len(piece)
                if self._left < 0:
                    raise _refused("the unpacked image is larger than the catalogue takes")
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
            member = self._members.get(_safe_name(name))
            if member is None:
                raise _refused(f"{name} is missing")
            if member.isfile():
                file = self._archive.extractfile(member)
                assert file is not None
                return file
            if member.issym():
                name = _join(PurePosixPath(member.name).parent, member.linkname)
            elif member.islnk():
                name = member.linkname
            else:
                raise _refused(f"{name} is not a plain file")
        raise _refused(f"{name} is a chain of links")


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
        isinstance(d, str) and _DIGEST.fullmatch(d) for d in diff_ids
    ):
        raise _refused("the image's config does not name the digests of its layers")
    return diff_ids


def _normal_manifest(image_id: str, diff_ids: list[str]) -> bytes:
    entry = {
        "Config": f"{image_id.removeprefix('sha256:')}.json",
        "RepoTags": None,
        "Layers": [f"{diff_id.removeprefix('sha256:')}/layer.tar" for diff_id in diff_ids],
    }
    return json.dumps([entry], separators=(",", ":")).encode()


def _json(content: bytes, what: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _refused(f"{what} is not JSON") from error


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_info(name, len(content)), io.BytesIO(content))


def _refused(why: str) -> ImageRefusedError:
    return ImageRefusedError(f"This is no usable docker-save archive: {why}.", next_step=_NEXT)
