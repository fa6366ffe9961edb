"""Looks at an archive while it passes: only the catalogue's own form may reach a VIM.

A receiver must not rely on its sender's checks. What an engine would do with a tag, a link, a
second image or a path is never found out, since `nfv_stack.contract.normal_archive` has none of
them and everything else is refused at the first byte that differs. Layers are not hashed here: the
engine does that, and the stream's seal and digest bind them anyway.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Generator
from typing import Any

from nfv_stack.contract.normal_archive import (
    BLOCK_BYTES,
    END_BYTES,
    ID_PREFIX,
    JSON_MAX_BYTES,
    MANIFEST_NAME,
    MULTIPLE_BYTES,
    config_name,
    header,
    is_image_id,
    layer_name,
    manifest,
    padding,
)
from nfv_stack.errors import ImageRejectedError
from nfv_stack.vim.port import ImageSpec

# A member's content is either kept (small documents) or passed over.
_Keep = tuple[int, bool]


class ArchiveInspector:
    """Incremental, in memory of at most two small documents."""

    def __init__(self, spec: ImageSpec) -> None:
        self._spec = spec
        self._seen = 0
        self._kept = bytearray()
        self._wanted = 0
        self._keeping = True
        self._whole = False
        self._refusal: ImageRejectedError | None = None
        self._form = self._follow()
        self._ask(next(self._form))

    def feed(self, chunk: memoryview) -> None:
        if self._refusal is not None:
            raise self._refusal
        at = 0
        while at < len(chunk):
            if self._whole:
                raise _refused("bytes follow its end")
            count = min(self._wanted, len(chunk) - at)
            if self._keeping:
                self._kept += chunk[at : at + count]
            at += count
            self._seen += count
            self._wanted -= count
            self._go_on()

    def finish(self) -> None:
        if not self._whole:
            raise _refused(f"it ends after {self._seen} bytes, before its end")

    def _go_on(self) -> None:
        """Hand over what was asked for as often as nothing more is needed for it."""
        while not self._wanted and not self._whole:
            kept = bytes(self._kept)
            self._kept.clear()
            try:
                self._ask(self._form.send(kept))
            except StopIteration:
                self._whole = True
            except ImageRejectedError as error:
                self._refusal = error
                raise

    def _ask(self, keep: _Keep) -> None:
        self._wanted, self._keeping = keep

    # --- the form ---------------------------------------------------------------------------------

    def _follow(self) -> Generator[_Keep, bytes, None]:
        """Asks for bytes in order: `(count, keep)` is answered by them, or by nothing."""
        image_id = self._spec.vim_image_id
        listed = yield from self._document(MANIFEST_NAME)
        diff_ids = _listed_layers(listed)
        if listed != manifest(image_id, diff_ids):
            raise _refused(
                f"its manifest.json is not that of the announced image {image_id}, "
                "alone and without a tag"
            )
        config = yield from self._document(config_name(image_id))
        if f"{ID_PREFIX}{hashlib.sha256(config).hexdigest()}" != image_id:
            raise _refused("its config is not that of the announced image")
        if _diff_ids(config) != diff_ids:
            raise _refused("manifest.json and config name different layers")
        for diff_id in dict.fromkeys(diff_ids):
            size = yield from self._header(layer_name(diff_id))
            yield size, False
            yield from self._zeros(padding(size))
        yield from self._zeros(END_BYTES)
        yield from self._zeros(padding(self._seen, MULTIPLE_BYTES))
        if self._seen != self._spec.size:
            raise _refused(f"it ends after {self._seen} of {self._spec.size} bytes")

    def _document(self, name: str) -> Generator[_Keep, bytes, bytes]:
        size = yield from self._header(name)
        if size > JSON_MAX_BYTES:
            raise _refused(f"its {name} has {size} bytes, more than {JSON_MAX_BYTES}")
        content = yield size, True
        yield from self._zeros(padding(size))
        return content

    def _header(self, name: str) -> Generator[_Keep, bytes, int]:
        """The size of the member that must come now, under exactly this header."""
        block = yield BLOCK_BYTES, True
        try:
            size = int(tarfile.nti(block[124:136]))  # type: ignore[attr-defined]
        except tarfile.TarError as error:
            raise _refused(f"where {name} must begin is no header") from error
        if not 0 <= size <= self._spec.size or block != header(name, size):
            raise _refused(f"another member, or a link, is where {name} must be")
        return size

    def _zeros(self, count: int) -> Generator[_Keep, bytes, None]:
        content = yield count, True
        if any(content):
            raise _refused("its padding is not zero")


def _listed_layers(listed: bytes) -> list[str]:
    """The layers that manifest.json names; whether it does so in our form is seen afterwards."""
    try:
        (entry,) = json.loads(listed)
        return [ID_PREFIX + name.removesuffix("/layer.tar") for name in entry["Layers"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _refused("its manifest.json does not name one image") from error


def _diff_ids(config: bytes) -> list[str]:
    try:
        found: Any = json.loads(config)["rootfs"]["diff_ids"]
        valid = isinstance(found, list) and all(is_image_id(diff_id) for diff_id in found)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _refused("its config names no layers") from error
    if not valid:
        raise _refused("its config names layers that are no digests")
    return [str(diff_id) for diff_id in found]


def _refused(why: str) -> ImageRejectedError:
    return ImageRejectedError(
        f"The stream is no container image in the form of the catalogue: {why}.",
        next_step="The image in the catalogue is damaged, or its sender is not ours; "
        "add the image again.",
    )
