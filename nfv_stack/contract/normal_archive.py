"""The one form in which container images travel: what the catalogue writes and the intake demands.

An uncompressed tar (POSIX.1-1988 headers with GNU's magic) whose members are, in this order and
with nothing between or after them:

1. `manifest.json`: one image, no tag, the other members by name;
2. `<hex>.json`: the image's config, named by its SHA-256, which is the image's id at an engine;
3. `<hex>/layer.tar`: each layer once, in the order of its first use, named by the SHA-256 of its
   content, as the config's `rootfs.diff_ids` has it.

All members are plain files of mode 0644, owner 0, time 0. Two zero blocks end the archive, and
zeros fill it to a multiple of 10240 bytes. The same image so has the same bytes everywhere. The
form of manifest.json and of the config is that of the Docker image specification v1.2.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any, Final

MANIFEST_NAME: Final = "manifest.json"
ID_PREFIX: Final = "sha256:"
BLOCK_BYTES: Final = tarfile.BLOCKSIZE
END_BYTES: Final = 2 * BLOCK_BYTES
MULTIPLE_BYTES: Final = tarfile.RECORDSIZE
JSON_MAX_BYTES: Final = 8 * 1024 * 1024
"""Neither manifest.json nor a config is larger."""

_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def is_image_id(text: str) -> bool:
    """Whether `text` is `sha256:` and 64 lower-case hex digits."""
    return _IMAGE_ID.fullmatch(text) is not None


def config_name(image_id: str) -> str:
    return f"{image_id.removeprefix(ID_PREFIX)}.json"


def layer_name(diff_id: str) -> str:
    return f"{diff_id.removeprefix(ID_PREFIX)}/layer.tar"


def manifest(image_id: str, diff_ids: Sequence[str]) -> bytes:
    """The exact content of manifest.json."""
    entry = {
        "Config": config_name(image_id),
        "RepoTags": None,
        "Layers": [layer_name(diff_id) for diff_id in diff_ids],
    }
    return json.dumps([entry], separators=(",", ":")).encode()


def member(name: str, size: int) -> tarfile.TarInfo:
    """What is said about a member of `size` bytes."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info


def header(name: str, size: int) -> bytes:
    """The exact header block of a member."""
    return member(name, size).tobuf(tarfile.GNU_FORMAT)


def padding(size: int, multiple: int = BLOCK_BYTES) -> int:
    """How many zeros follow `size` bytes up to a multiple of `multiple`."""
    return -size % multiple


def build(config: Mapping[str, Any], layers: Sequence[bytes]) -> tuple[str, bytes]:
    """A small image in memory: its id and its archive. `rootfs` is added to `config`."""
    diff_ids = [ID_PREFIX + hashlib.sha256(layer).hexdigest() for layer in layers]
    document = {**config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    written = json.dumps(document, separators=(",", ":")).encode()
    image_id = ID_PREFIX + hashlib.sha256(written).hexdigest()
    members = {
        MANIFEST_NAME: manifest(image_id, diff_ids),
        config_name(image_id): written,
        **{layer_name(d): layer for d, layer in zip(diff_ids, layers, strict=True)},
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in members.items():
            archive.addfile(member(name, len(data)), io.BytesIO(data))
    return image_id, content.getvalue()
